"""Runs that repeat one experiment with several seeds, and the numbers that they make together."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lit_diffusion.config.relevance import Settings, identify
from lit_diffusion.table.paper import Printed
from lit_diffusion.table.repetitions import apart
from lit_diffusion.table.runs import Run, Score, Warn

LARGE = 1e9
FINISHED = "finished"
# What a number without a value is, where its seeds disagree: the first that one of them is.
STATES = ("running", "diverged", "failed", "no score")


@dataclass(frozen=True)
class Number:
    """A number of a table. status: finished; missing or one of STATES; empty where there is nothing to say.

    value, std: unrounded. text, std_text: as they are shown. seeds: how many the value is the mean of. prefix: ≤.
    """

    status: str = ""
    value: float | None = None
    std: float | None = None
    text: str = ""
    std_text: str = ""
    seeds: int = 0
    prefix: str = ""


@dataclass(frozen=True)
class Experiment:
    """Runs of the same settings, one a seed. marks: what tells them from others of the same settings, as `samples`."""

    settings: Settings
    runs: list[Run]
    marks: Mapping[str, Any] = field(default_factory=dict)

    def states(self, score: str) -> list[str]:
        """What became of a score in each run."""
        return [state(run, score) for run in self.runs]

    def scores(self, score: str) -> list[Score]:
        """The values that there are."""
        return [run.scores[score] for run in self.runs if state(run, score) == FINISHED]

    def number(self, score: str, digits: int, prefix: str, fixed: bool = True) -> Number:
        """One seed: its value and own spread. Several: mean and sample standard deviation over those that have one.

        fixed: whether the number has all its `digits` after the point, however large it is.
        """
        found = self.scores(score)
        if not found:
            return Number(min(self.states(score), key=STATES.index))
        values = [one.value for one in found if one.value is not None]
        value = statistics.fmean(values)
        std = statistics.stdev(values) if len(values) > 1 else found[0].std
        digits = digits if fixed else min(digits, digits_of(max(abs(value), std or 0.0)))
        std_text = "" if std is None else text_of(std, digits)
        return Number(FINISHED, value, std, text_of(value, digits), std_text, len(values), prefix)


def digits_of(size: float) -> int:
    """Digits after the point that make four significant ones."""
    return max(0, 3 - math.floor(math.log10(size))) if 0 < size < math.inf else 3


def text_of(value: float, digits: int) -> str:
    """A number with these digits after the point; very large ones as 1.234e+20."""
    return f"{value:.{digits}f}" if abs(value) < LARGE else f"{value:.3e}"


def state(run: Run, score: str) -> str:
    """finished, or what a run has in place of that score."""
    if run.status != FINISHED:
        return run.status
    if score not in run.scores:
        return "no score"
    return "diverged" if run.scores[score].value is None else FINISHED


def printed_number(printed: Printed | None, bound: str) -> Number:
    """A paper's number, as it prints it."""
    if printed is None:
        return Number()
    if printed.value is None:
        return Number("diverged")
    std = None if printed.std is None else float(printed.std)
    prefix = bound if printed.bound else ""
    return Number(FINISHED, float(printed.value), std, printed.value, printed.std or "", 0, prefix)


def experiments_of(runs: Iterable[Run], scores: Sequence[str], warn: Warn) -> list[Experiment]:
    """Runs put together by their settings and by how `scores` were measured. Of the same seed the newest counts."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda one: (one.time, one.name)):
        if run.settings is None:
            warn(f"{run.name}: its summary has no settings, so that it matches nothing; its version was too old")
        else:
            groups.setdefault(identify(run.settings), []).append(run)
    repeated = [one for group in groups.values() for one in apart(group, scores)]
    return [Experiment(same[0].settings or {}, _newest(same, warn), marks) for marks, same in repeated]


def _newest(runs: Sequence[Run], warn: Warn) -> list[Run]:
    """One run a seed, by seed."""
    seeds: dict[int | None, Run] = {}
    for run in runs:
        if run.seed in seeds:
            warn(f"{seeds[run.seed].name} has the settings and the seed of {run.name}, which is newer and counts")
        seeds[run.seed] = run
    return sorted(seeds.values(), key=lambda run: (run.seed is None, run.seed))
