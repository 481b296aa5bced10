"""Which runs of the same settings repeat one experiment, measured in one way."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lit_diffusion.config.relevance import CHECKPOINT
from lit_diffusion.table.runs import Run

STEP = "step"
RANDOM = {"seed", "block_size", "sigma"}  # fields of a protocol that make other random numbers, or follow from them
NOT_GIVEN = "not given"
Signature = Mapping[str, Mapping[str, Any]]


def checkpoint(run: Run) -> str | None:
    """The file whose weights a `test` has scored; None of the run that has trained them."""
    found = (run.settings or {}).get(CHECKPOINT)
    return None if found is None else str(found)


def apart(runs: Sequence[Run], scores: Sequence[str]) -> list[tuple[dict[str, Any], list[Run]]]:
    """Runs of the same settings as experiments, each with what tells it from the others.

    Of one experiment are the runs whose scores were measured in the same way and, where a `test` has scored
    checkpoints, after the same number of steps. Each seed has a checkpoint of its own; where one has several, they are
    several experiments.
    """
    groups: list[list[Run]] = []
    for kind in (True, False):
        for group in _agreeing([run for run in runs if (checkpoint(run) is None) is kind], scores):
            groups += _by_checkpoint(group) if _several_a_seed(group) else [group]
    if len(groups) < 2:
        return [({}, group) for group in groups]
    marks = _marks([_fields(group, scores) for group in groups])
    if any(marks.count(mark) > 1 for mark in marks):
        names = short_paths(path for run in runs if (path := checkpoint(run)))
        for mark, group in zip(marks, groups):
            files = dict.fromkeys(names[path] for run in group if (path := checkpoint(run)))
            mark[CHECKPOINT] = ", ".join(files) or None
    return list(zip(marks, groups))


def signature(run: Run, scores: Sequence[str]) -> Signature:
    """How each score of a run was measured, with the training steps where the weights are a checkpoint's."""
    left_out = RANDOM if checkpoint(run) else RANDOM | {STEP}
    return {
        score: {field: value for field, value in run.scores[score].protocol.items() if field not in left_out}
        for score in scores
        if score in run.scores
    }


def _agreeing(runs: Sequence[Run], scores: Sequence[str]) -> list[list[Run]]:
    """Runs put together where the scores that they have in common were measured in one way."""
    groups: list[tuple[dict[str, Any], list[Run]]] = []
    for run in runs:
        own = signature(run, scores)
        for known, group in groups:
            if all(known.get(score, how) == how for score, how in own.items()):
                known.update(own)
                group.append(run)
                break
        else:
            groups.append((dict(own), [run]))
    return [group for _, group in groups]


def _several_a_seed(runs: Iterable[Run]) -> bool:
    files: dict[int | None, set[str | None]] = {}
    for run in runs:
        files.setdefault(run.seed, set()).add(checkpoint(run))
    return any(len(found) > 1 for found in files.values())


def _by_checkpoint(runs: Iterable[Run]) -> list[list[Run]]:
    groups: dict[str | None, list[Run]] = {}
    for run in runs:
        groups.setdefault(checkpoint(run), []).append(run)
    return list(groups.values())


def _fields(runs: Sequence[Run], scores: Sequence[str]) -> dict[str, Any]:
    """The fields of all protocols of an experiment; several values of one, as of several scores, as a text."""
    values: dict[str, list[Any]] = {}
    for protocol in (run.scores[score].protocol for run in runs for score in scores if score in run.scores):
        for field, value in protocol.items():
            if field not in RANDOM and value not in values.setdefault(field, []):
                values[field].append(value)
    return {field: found[0] if len(found) == 1 else ", ".join(map(str, found)) for field, found in values.items()}


def _marks(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As few fields as tell the experiments apart; those that all have come first."""
    marks: list[dict[str, Any]] = [{} for _ in told]
    fields = dict.fromkeys(field for one in told for field in one)
    for field in sorted(fields, key=lambda name: any(name not in one for one in told)):
        longer = [{**mark, field: one.get(field, NOT_GIVEN)} for mark, one in zip(marks, told)]
        if _kinds(longer) > _kinds(marks):
            marks = longer
    return marks


def _kinds(marks: Sequence[Mapping[str, Any]]) -> int:
    return len({repr(mark) for mark in marks})


def short_paths(paths: Iterable[str]) -> dict[str, str]:
    """Of files: as much of each, from its end, as tells them apart."""
    unique = list(dict.fromkeys(paths))
    folder = os.path.dirname(unique[0]) if len(unique) == 1 else _common(unique)
    return {path: os.path.relpath(path, folder) if folder else path for path in unique}


def _common(paths: Sequence[str]) -> str:
    try:
        return os.path.commonpath(paths)
    except ValueError:  # relative and absolute ones
        return ""
