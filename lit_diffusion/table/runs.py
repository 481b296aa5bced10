"""Runs as a table sees them, read from folders. Nothing in a folder is executed."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import summary

STATUSES = ("running", "finished", "diverged", "failed")
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Score:
    """A number of a run. value: None where there is none, because the model has diverged."""

    value: float | None
    std: float | None = None
    protocol: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run. settings: by dotted keys; None in old summaries. time: of its last change, to tell the newest."""

    name: str
    status: str
    reason: str | None
    seed: int | None
    scores: dict[str, Score]
    settings: dict[str, Any] | None
    time: float


def find_runs(folders: list[str], warn: Warn) -> list[Run]:
    """The runs in folders: each is a run's folder, or holds such one or two levels down. Each run counts once.

    warn: told of every summary that is left out. Raises ConfigError where a folder is not there or holds no run, or
    where no summary can be read.
    """
    problems: list[str] = []
    runs: list[Run] = []
    found = [(Path(folder), path) for folder in folders for path in _summaries(Path(folder))]
    for path in _without_links(found, problems):
        try:
            runs.append(_read(path))
        except ConfigError as error:
            problems.append(str(error))
    if not runs:
        others = f", and {len(problems) - 1} more" if problems[1:] else ""
        raise ConfigError(f"no run can be read: {problems[0]}{others}")
    for problem in dict.fromkeys(problems):
        warn(f"left out: {problem}")
    return runs


def _summaries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"{folder} {what}; write the folder of a run, or one that holds folders of runs")
    """Files, and links that may stand for one: also those that lead nowhere."""
    own = folder / summary.FILE
    below = [entry for child in _entries(folder) for entry in (child, *_entries(child))]
    found = [own] if os.path.lexists(own) else sorted(path for entry in below for path in _summary_in(entry))
    if not found:
        raise ConfigError(f"{folder} holds no run; write a folder with a {summary.FILE} in it or in its sub-folders")
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if os.path.isdir(folder) else []
    except OSError:
        return []


def _summary_in(entry: Path) -> list[Path]:
    if os.path.islink(entry) and not os.path.exists(entry):
        return [entry]
    path = entry / summary.FILE
    return [path] if os.path.isfile(path) or os.path.islink(path) else []


def _without_links(found: list[tuple[Path, Path]], problems: list[str]) -> list[Path]:
    """Each file once, a link's folder only where the run is found nowhere else; problems: the links left out."""
    kept: dict[str, Path] = {}
    links: list[tuple[str, Path]] = []
    for folder, path in found:
        real, straight = os.path.realpath(path), os.path.join(os.path.realpath(folder), path.relative_to(folder))
        if not os.path.exists(path):
            problems.append(f"{path} is a link that leads nowhere; remove it")
        elif os.path.islink(path):
            problems.append(f"{path} is a link; copy the file itself there")
        elif real != straight:
            links.append((real, path))
        else:
            kept.setdefault(real, path)
    for real, path in links:
        if kept.setdefault(real, path) != path:
            problems.append(f"{path.parent} is a link to {kept[real].parent}, which counts; remove it")
    return sorted(kept.values(), key=[path for _, path in found].index)


def _read(path: Path) -> Run:
    return run_of(summary.read(path), str(path.parent), path.stat().st_mtime)


def run_of(content: dict[str, Any], name: str, time: float) -> Run:
    """The run of a summary in summary.json. Raises ConfigError if a part is not of its type."""
    status, seed, settings = content.get("status"), content.get("seed"), content.get("settings")
    if status not in STATUSES or not isinstance(seed, int | None) or not isinstance(settings, dict | None):
        raise ConfigError(f"the summary of {name} has no valid status, seed or settings; remove it")
    try:
        scores = {score: _score(entry) for score, entry in content["scores"].items()}
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise ConfigError(f"the scores of {name} are damaged; remove its summary") from error
    return Run(name, status, content.get("reason"), seed, scores, settings, time)


def _score(entry: dict[str, Any]) -> Score:
    value, std = (None if entry.get(key) is None else float(entry[key]) for key in ("value", "std"))
    if std is not None and not math.isfinite(std):
        std = None
    return Score(value if value is not None and math.isfinite(value) else None, std, dict(entry.get("protocol") or {}))
