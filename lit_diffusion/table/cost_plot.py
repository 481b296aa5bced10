"""The plot of a table: a score against the evaluations of the network that a sample takes."""

from collections.abc import Sequence
from pathlib import Path

from lit_diffusion.config.relevance import ABSENT, find_differences
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.table.experiment import FINISHED, group
from lit_diffusion.table.known_scores import describe_score
from lit_diffusion.table.rows import TableRow, format_setting
from lit_diffusion.table.table import Table
from lit_diffusion.visualization import curves

COST, STEPS = "nfe", "model.sampler.steps"


def write_plot(tables: Sequence[Table], path: Path) -> str:
    """Draws the FID of all rows, or the first score that depends on samples; returns what was drawn, in words.

    A curve for each combination of the settings in which rows differ, but for the number of steps. Error bars are the ±
    of the table. Raises ConfigError if no row has such a score, or the file cannot be written.
    """
    rows = [row for table in tables for row in table.rows if row.experiment]
    scores = list(dict.fromkeys(score for table in tables for column in table.columns for score in column.scores))
    plotted = {score: make_curves(rows, score) for score in scores}
    drawn = [score for score in sorted(scores, key=lambda score: score != "fid") if plotted[score]]
    if not drawn:
        raise ConfigError(
            "--plot: no run has a score that says how often a sample evaluates the network; score samples first, with "
            "`lightning test`"
        )
    found, title = plotted[drawn[0]], next((table.title.text for table in tables if table.title), "")
    figure = curves.against_cost(title, "evaluations of the network", describe_score(drawn[0]).title, found)
    try:
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=120, format=path.suffix[1:])
    except OSError as error:
        raise ConfigError(f"--plot: {path} cannot be written ({error.strerror}); choose another file") from error
    return f"{len(found)} curves, {sum(len(curve.points) for curve in found)} points"


def make_curves(rows: Sequence[TableRow], score: str) -> list[curves.ScoreCurve]:
    """The curves of a score, in the order of the rows."""
    keys = [
        key for key in find_differences([row.experiment.settings for row in rows if row.experiment]) if key != STEPS
    ]
    points: list[tuple[tuple[str, str], tuple[float, float, float | None]]] = []
    for row in rows:
        measured = [one for one in row.measured(score) if COST in one.protocol]
        if row.experiment is None or not measured:
            continue
        number = row.experiment.number(score, 3, "")
        if number.status != FINISHED or number.value is None:
            continue
        settings = {**{key: row.experiment.settings.get(key, ABSENT) for key in keys}, **row.experiment.marks}
        texts = [describe(key, value) for key, value in settings.items() if value is not ABSENT]
        family, kind = texts[0] if texts else "", ", ".join(texts[1:])
        points.append(((family, kind), (float(measured[0].protocol[COST]), number.value, number.std)))
    return [
        curves.ScoreCurve(*names, sorted(found, key=lambda point: point[0])) for names, found in group(points).items()
    ]


def describe(key: str, value: object) -> str:
    """A setting in a legend: names of classes and words speak for themselves, numbers do not."""
    text = format_setting(value)
    return text if isinstance(value, str) else f"{key.rpartition('.')[2]} = {text}"
