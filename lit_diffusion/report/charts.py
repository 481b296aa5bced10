"""The charts of a page: curves of the training, and the bound by step and by rate."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lit_diffusion.config.relevance import find_differences
from lit_diffusion.report.bound_files import SplitBound
from lit_diffusion.report.reported_run import ReportedRun
from lit_diffusion.report.thinning import Points, thin
from lit_diffusion.runs.summary import TRACKED
from lit_diffusion.table.experiment import format_number, group
from lit_diffusion.table.known_scores import describe_score

FIRST = {"train/loss": "loss", "val/loss": "val loss", "track/fid": "FID, tracked", "images_per_second": "images/s"}
MOST_POINTS, ALL_POINTS = 1000, 120_000  # of one curve, of all curves of a page
LOG_FROM = 30.0  # the ratio of the largest to the smallest value from which a logarithmic axis shows more
ONE_LOSS = ("model", "model.objective", "model.reverse.parameterization", "model.vae", "model.beta")


@dataclass(frozen=True)
class ChartRow:
    """What a chart's table says of one of its curves."""

    run: int
    last: str
    at: str
    lowest: str
    highest: str


@dataclass
class Chart:
    """curves: by the number of the run. log_y, log_x: whether axes start as logarithmic ones. note: below the title."""

    name: str
    title: str
    x_title: str
    y_title: str
    curves: dict[int, Points] = field(default_factory=dict)
    rows: list[ChartRow] = field(default_factory=list)
    log_x: bool = False
    log_y: bool = False
    note: str = ""

    def add(self, run: int, x: Sequence[float], y: Sequence[float], most: int) -> None:
        """A curve, with at most `most` points, and its row."""
        if x:
            self.curves[run] = thin(x, y, most)
            self.rows.append(ChartRow(run, _format(y[-1]), _format(x[-1]), _format(min(y)), _format(max(y))))

    def choose_axis(self) -> None:
        """Makes the vertical axis logarithmic if the values span much and all are positive."""
        values = [value for points in self.curves.values() for value in points.y]
        self.log_y = bool(values) and 0 < min(values) * LOG_FROM < max(values)


def make_curves(runs: Sequence[ReportedRun]) -> tuple[list[Chart], list[Chart]]:
    """The charts of metrics.csv: those that people look at first, and the others. Final scores are in the tables."""
    columns = dict.fromkeys(name for run in runs for name, curve in run.curves.items() if _is_curve(name, curve.steps))
    total = sum(name in run.curves for run in runs for name in columns)
    most = max(100, min(MOST_POINTS, ALL_POINTS // max(1, total)))
    order = sorted(columns, key=lambda name: (list(FIRST).index(name) if name in FIRST else len(FIRST), name))
    first, others = list[Chart](), list[Chart]()
    for name in order:
        chart = Chart(name, _title(name), "training step", _title(name))
        for number, run in enumerate(runs):
            if curve := run.curves.get(name):
                chart.add(number, curve.steps, curve.values, most)
        longest = max((len(run.curves[name].steps) for run in runs if name in run.curves), default=0)
        notes = [f"losses do not compare: runs differ in {differing}"] if (differing := _differ(name, runs)) else []
        if longest > most:
            notes.append(f"of up to {longest:,} points, about {most:,} of each run are drawn, among them every peak")
        chart.note = "; ".join(notes)
        chart.choose_axis()
        if chart.curves:
            (first if name in FIRST else others).append(chart)
    return first, others


def _is_curve(name: str, steps: Sequence[int]) -> bool:
    return len(steps) > 1 or name in FIRST or name.startswith((TRACKED, "train/", "val/"))


def _title(name: str) -> str:
    return FIRST.get(name) or (
        f"{describe_score(name.removeprefix(TRACKED)).title}, tracked" if name.startswith(TRACKED) else name
    )


def _differ(name: str, runs: Sequence[ReportedRun]) -> str:
    """The settings that give a loss its meaning and in which the runs with this curve differ."""
    if not name.endswith("/loss"):
        return ""
    differing = find_differences([run.run.settings or {} for run in runs if name in run.curves])
    return ", ".join(key for key in ONE_LOSS if key in differing)


def make_bound_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """For each split, bits/dim by step, and rate against distortion."""
    found = group((bound.split, (number, bound)) for number, run in enumerate(runs) for bound in run.bounds)
    charts = []
    for split, bounds in found.items():
        most = max(50, min(500, ALL_POINTS // 4 // len(bounds)))
        charts += [chart for chart in _make_split(split, bounds, most) if chart.curves]
    return charts


def _make_split(split: str, bounds: Iterable[tuple[int, SplitBound]], most: int) -> Iterator[Chart]:
    terms = Chart(f"terms/{split}", f"bits/dim by step, {split}", "step t", "bits/dim per step", log_x=True)
    rates = Chart(f"rates/{split}", f"rate and distortion, {split}", "rate, bits/dim", "RMSE on 0..255")
    for number, bound in bounds:
        terms.add(number, *_split(bound.by_step), most)
        rates.add(number, *_split(bound.rates), most)
    terms.choose_axis()
    terms.note = "means of ranges of steps, at their middle; L_0, the decoder's, is in the table"
    rates.note = "from no information about x_0, left, to all of it, right"
    yield from (terms, rates)


def _split(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _format(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if abs(value) < 1e5 else format_number(value, 0)
