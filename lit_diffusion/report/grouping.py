"""Which runs are one line of the legend: those of one row of a table, else those that repeat one another."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lit_diffusion.config.relevance import identify
from lit_diffusion.table.experiment import Experiment, group, shorten_paths
from lit_diffusion.table.rows import TableRow, name_experiments
from lit_diffusion.table.runs import Run
from lit_diffusion.table.table import Table

COLOURS, DASHES = 8, 4  # of curves; report.css has them


@dataclass(frozen=True)
class RunGroup:
    """runs: by their numbers on the page. labels: what tells each from the others. number: of the group."""

    number: int
    name: str
    runs: list[int]
    labels: list[str]

    @property
    def colour(self) -> int:
        """Of its curves."""
        return self.number % COLOURS

    @property
    def dash(self) -> int:
        """Of its curves: groups of one colour have different ones, and so have colours that look alike to some."""
        return self.number * 2 // COLOURS % DASHES


def group_runs(tables: Sequence[Table], runs: Sequence[Run]) -> list[RunGroup]:
    """The groups, in the order of the tables' rows; each run is in one of them."""
    numbers = {run.name: number for number, run in enumerate(runs)}
    groups: list[tuple[str, str, list[int]]] = []  # name, title of its table, runs
    for table, row in ((one, row) for one in tables for row in one.rows if row.experiment):
        members = [numbers.pop(one.name) for one in _runs_of(row) if one.name in numbers]
        if members:
            groups.append((row.name, table.title.text if table.title else "", members))
    rest = [runs[number] for number in numbers.values()]
    same = group((run.name if run.settings is None else identify(run.settings), run) for run in rest)
    others = [Experiment(found[0].settings or {}, found) for found in same.values()]
    names = name_experiments(others)
    groups += [(names[id(one)], "", [numbers[run.name] for run in one.runs]) for one in others]
    short = shorten_paths(runs[members[0]].name for _, _, members in groups)
    paths = [short[runs[members[0]].name] for _, _, members in groups]
    titled = [f"{name}, {title}" if title else path for (name, title, _), path in zip(groups, paths)]
    unique = _tell_apart([name for name, _, _ in groups], titled, paths)
    return [
        RunGroup(number, name, members, _label([runs[member] for member in members]))
        for number, (name, (_, _, members)) in enumerate(zip(unique, groups))
    ]


def _tell_apart(names: list[str], *longer: list[str]) -> list[str]:
    """Names of which none occurs twice: those that do are replaced by longer ones."""
    for others in longer:
        counts = Counter(names)
        names = [other if counts[name] > 1 else name for name, other in zip(names, others)]
    return names


def _runs_of(row: TableRow) -> list[Run]:
    return row.experiment.runs if row.experiment else []


def _label(runs: Sequence[Run]) -> list[str]:
    """`seed 0`; the names of the folders if a seed is missing or occurs twice."""
    seeds = [run.seed for run in runs]
    if None not in seeds and len(set(seeds)) == len(seeds):
        return [f"seed {seed}" for seed in seeds]
    short = shorten_paths(run.name for run in runs)
    return [short[run.name] if len(runs) > 1 else Path(run.name).name for run in runs]
