"""Experiments: runs that repeat one another with several seeds, and the numbers that they yield together."""

import math
import os
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lit_diffusion.config.relevance import CHECKPOINT, Settings, identify
from lit_diffusion.table.known_scores import BOUND, PrintedNumber
from lit_diffusion.table.runs import Measurement, Run, Warn

LARGE = 1e9
FINISHED = "finished"
# What stands in place of a number: the first of these that some seed has.
STATES = ("running", "diverged", "failed", "no score")
STEP = "step"
RANDOM = {"seed", "block_size", "sigma"}  # fields of a protocol that determine random numbers, or follow from them
NOT_GIVEN = "not given"
Group = TypeVar("Group", bound=Hashable)
Item = TypeVar("Item")


def group(pairs: Iterable[tuple[Group, Item]]) -> dict[Group, list[Item]]:
    """The items of each group, in order."""
    groups: dict[Group, list[Item]] = {}
    for key, item in pairs:
        groups.setdefault(key, []).append(item)
    return groups


@dataclass(frozen=True)
class Number:
    """A number of a table. status: finished; missing or one of STATES; empty if there is nothing to show.

    value, std: unrounded. text, std_text: as shown. seeds: how many the value is the mean of. prefix: ≤ of a bound.
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
    """Runs with the same settings, one per seed. marks: fields of the protocol, such as `samples`, that distinguish
    this experiment from others with the same settings.
    """

    settings: Settings
    runs: list[Run]
    marks: Mapping[str, Any] = field(default_factory=dict)

    def states(self, score: str) -> list[str]:
        """What became of a score in each run."""
        return [get_state(run, score) for run in self.runs]

    def measured(self, score: str) -> list[Measurement]:
        """The measurements of a score, of the runs that have one."""
        return [one for run in self.runs if (one := run.measured(score)) and get_state(run, score) == FINISHED]

    def number(self, score: str, digits: int, prefix: str, fixed: bool = True) -> Number:
        """Of one seed, its value and spread; of several, the mean and the sample standard deviation.

        fixed: whether all `digits` after the point are shown, however large the number is.
        """
        found = self.measured(score)
        if not found:
            return Number(min(self.states(score), key=STATES.index))
        values = [one.value for one in found if one.value is not None]
        value = statistics.fmean(values)
        std = statistics.stdev(values) if len(values) > 1 else found[0].std
        digits = digits if fixed else min(digits, count_digits(max(abs(value), std or 0.0)))
        std_text = "" if std is None else format_number(std, digits)
        return Number(FINISHED, value, std, format_number(value, digits), std_text, len(values), prefix)


def count_digits(size: float) -> int:
    """Digits after the point that make four significant ones."""
    return max(0, 3 - math.floor(math.log10(size))) if 0 < size < math.inf else 3


def format_number(value: float, digits: int) -> str:
    """A number with these digits after the point; a very large one as 1.234e+20."""
    return f"{value:.{digits}f}" if abs(value) < LARGE else f"{value:.3e}"


def get_state(run: Run, score: str) -> str:
    """finished, or what a run has instead of that score."""
    if run.status != FINISHED:
        return run.status
    measured = run.measured(score)
    if measured is None:
        return "no score"
    return "diverged" if measured.value is None else FINISHED


def make_printed_number(printed: PrintedNumber | None) -> Number:
    """A paper's number, with the digits that it prints."""
    if printed is None:
        return Number()
    if printed.value is None:
        return Number("diverged")
    std = None if printed.std is None else float(printed.std)
    prefix = BOUND if printed.is_bound else ""
    return Number(FINISHED, float(printed.value), std, printed.value, printed.std or "", 0, prefix)


def find_experiments(runs: Iterable[Run], scores: Sequence[str], warn: Warn) -> list[Experiment]:
    """Runs grouped by their settings and by how `scores` were measured. Of two runs with one seed the newer counts."""
    with_settings = []
    for run in sorted(runs, key=lambda run: (run.time, run.name)):
        if run.settings is None:
            warn(f"{run.name}: its summary, of an old version, has no settings and matches no row")
        else:
            with_settings.append((identify(run.settings), run))
    return [
        Experiment(repeated[0].settings or {}, _keep_newest(repeated, warn), marks)
        for same in group(with_settings).values()
        for marks, repeated in separate(same, scores)
    ]


def _keep_newest(runs: Sequence[Run], warn: Warn) -> list[Run]:
    """One run per seed, ordered by seed. runs: oldest first."""
    seeds: dict[int | None, Run] = {}
    for run in runs:
        if run.seed in seeds:
            warn(f"{seeds[run.seed].name} has the settings and the seed of {run.name}, which is newer and counts")
        seeds[run.seed] = run
    return sorted(seeds.values(), key=lambda run: (run.seed is None, run.seed))


def separate(runs: Sequence[Run], scores: Sequence[str]) -> list[tuple[dict[str, Any], list[Run]]]:
    """Runs with the same settings as experiments, each with the marks that distinguish it from the others.

    The runs of one experiment were measured in the same way and, if `test` scored checkpoints, after the same number
    of steps. If a seed has several checkpoints, each checkpoint is an experiment.
    """
    groups: list[list[Run]] = []
    for trained in (True, False):
        for agreeing in _group_agreeing([run for run in runs if (run.checkpoint is None) is trained], scores):
            several = len({(run.seed, run.checkpoint) for run in agreeing}) > len({run.seed for run in agreeing})
            by_checkpoint = group((run.checkpoint, run) for run in agreeing)
            groups += by_checkpoint.values() if several else [agreeing]
    if len(groups) < 2:
        return [({}, same) for same in groups]
    marks = _find_marks([_collect_fields(same, scores) for same in groups])
    if any(marks.count(mark) > 1 for mark in marks):
        names = shorten_paths(run.checkpoint for run in runs if run.checkpoint)
        for mark, same in zip(marks, groups):
            files = dict.fromkeys(names[run.checkpoint] for run in same if run.checkpoint)
            mark[CHECKPOINT] = ", ".join(files) or None
    return list(zip(marks, groups))


def _group_agreeing(runs: Sequence[Run], scores: Sequence[str]) -> list[list[Run]]:
    """Runs grouped so that the scores that they share were measured in one way."""
    groups: list[tuple[dict[str, Any], list[Run]]] = []
    for run in runs:
        ignored = RANDOM if run.checkpoint else RANDOM | {STEP}
        protocols = {
            score: {field: value for field, value in run.scores[score].protocol.items() if field not in ignored}
            for score in scores
            if score in run.scores
        }
        for known, agreeing in groups:
            if all(known.get(score, protocol) == protocol for score, protocol in protocols.items()):
                known.update(protocols)
                agreeing.append(run)
                break
        else:
            groups.append((protocols, [run]))
    return [agreeing for _, agreeing in groups]


def _collect_fields(runs: Sequence[Run], scores: Sequence[str]) -> dict[str, Any]:
    """The fields of all protocols of an experiment; several values of one field as a text."""
    protocols = [run.scores[score].protocol for run in runs for score in scores if score in run.scores]
    fields = group((field, value) for protocol in protocols for field, value in protocol.items())
    unique = {field: [v for n, v in enumerate(found) if v not in found[:n]] for field, found in fields.items()}
    return {
        field: found[0] if len(found) == 1 else ", ".join(map(str, found))
        for field, found in unique.items()
        if field not in RANDOM
    }


def _find_marks(all_fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As few fields as distinguish the experiments, those that all of them have first."""
    marks: list[dict[str, Any]] = [{} for _ in all_fields]
    names = dict.fromkeys(name for fields in all_fields for name in fields)
    for name in sorted(names, key=lambda name: any(name not in fields for fields in all_fields)):
        longer = [{**mark, name: fields.get(name, NOT_GIVEN)} for mark, fields in zip(marks, all_fields)]
        if len(set(map(repr, longer))) > len(set(map(repr, marks))):
            marks = longer
    return marks


def shorten_paths(paths: Iterable[str]) -> dict[str, str]:
    """By path, as much of its end as distinguishes it from the others."""
    unique = list(dict.fromkeys(paths))
    try:
        folder = os.path.dirname(unique[0]) if len(unique) == 1 else os.path.commonpath(unique)
    except ValueError:  # relative and absolute paths
        folder = ""
    return {path: os.path.relpath(path, folder) if folder else path for path in unique}
