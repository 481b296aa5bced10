"""Runs as a table sees them: the summary.json of folders, or of the runs of a W&B project. Nothing is executed."""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_diffusion.config.relevance import CHECKPOINT
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import summary

STATUSES = ("running", "finished", "diverged", "failed")
TIMEOUT = 30  # seconds, of the W&B server
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Measurement:
    """A score of a run. value: None if the model diverged."""

    value: float | None
    std: float | None = None
    protocol: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """settings: by dotted keys; None in old summaries. time: of the last change, in seconds, to find the newest run.

    facts: numbers other than scores: `parameters`, `nfe` of its samples, `seconds_per_1000_samples`.
    """

    name: str
    status: str
    reason: str | None
    seed: int | None
    scores: dict[str, Measurement]
    settings: dict[str, Any] | None
    time: float
    facts: dict[str, Measurement] = field(default_factory=dict)

    def measured(self, name: str) -> Measurement | None:
        """The score or fact of that name, if the run has it."""
        return self.scores.get(name) or self.facts.get(name)

    @property
    def checkpoint(self) -> str | None:
        """The file whose weights `test` scored; None for a run scored by its own training."""
        file = (self.settings or {}).get(CHECKPOINT)
        return None if file is None else str(file)


def find_runs(folders: list[str], warn: Warn) -> list[Run]:
    """The runs in folders, as `read_runs` finds them.

    warn: called for every summary that is left out. Raises ConfigError also if no summary can be read.
    """
    problems: list[str] = []
    runs = read_runs(folders, problems)
    if not runs:
        others = f", and {len(problems) - 1} more" if problems[1:] else ""
        raise ConfigError(f"no run can be read: {problems[0]}{others}")
    for problem in problems:
        warn(f"left out: {problem}")
    return runs


def read_runs(folders: list[str], problems: list[str]) -> list[Run]:
    """The runs in folders, each once. A folder is that of a run, or contains such folders one or two levels down.

    problems: receives why a summary cannot be read. Raises ConfigError if a folder does not exist or contains no run.
    """
    runs, unread = list[Run](), list[str]()
    found = [(Path(folder), path) for folder in folders for path in _find_summaries(Path(folder))]
    for path in _resolve_links(found, unread):
        try:
            runs.append(make_run(summary.read(path), str(path.parent), path.stat().st_mtime))
        except ConfigError as error:
            unread.append(str(error))
    problems += dict.fromkeys(unread)
    return runs


def _find_summaries(folder: Path) -> list[Path]:
    """Summary files, and links that may stand for one, even if they lead nowhere."""
    if not folder.is_dir():
        problem = "not a folder" if folder.exists() else "no such folder"
        raise ConfigError(f"{folder}: {problem}; name the folder of a run, or one that contains folders of runs")
    if os.path.lexists(folder / summary.FILE):
        return [folder / summary.FILE]
    below = [entry for child in _list_entries(folder) for entry in (child, *_list_entries(child))]
    found = []
    for entry in below:
        path = entry / summary.FILE
        if entry.is_symlink() and not os.path.exists(entry):
            found.append(entry)
        elif os.path.isfile(path) or os.path.islink(path):
            found.append(path)
    if not found:
        raise ConfigError(f"{folder}: no run; name a folder with a {summary.FILE} in it or in its subfolders")
    return sorted(found)


def _list_entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if os.path.isdir(folder) else []
    except OSError:
        return []


def _resolve_links(found: list[tuple[Path, Path]], problems: list[str]) -> list[Path]:
    """Each file once, in a linked folder only if the run is found nowhere else. problems: receives the others.

    found: a folder of the command line and a file in it.
    """
    kept: dict[str, Path] = {}
    linked: list[tuple[str, Path]] = []
    for folder, path in found:
        real, direct = os.path.realpath(path), os.path.join(os.path.realpath(folder), path.relative_to(folder))
        if not os.path.exists(path):
            problems.append(f"{path}: broken link; remove it")
        elif os.path.islink(path):
            problems.append(f"{path}: the file is a link; replace it by a copy")
        elif real != direct:
            linked.append((real, path))
        else:
            kept.setdefault(real, path)
    for real, path in linked:
        if kept.setdefault(real, path) != path:
            problems.append(f"{path.parent}: a link to {kept[real].parent}, which is used; remove the link")
    return sorted(kept.values(), key=[path for _, path in found].index)


def fetch_runs(project: str, warn: Warn) -> list[Run]:
    """The runs of a W&B project, entity/project, whose summaries hold the text of our summary.json.

    warn: called for runs that are left out. Raises ConfigError if the project cannot be read or has no such run.
    """
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", project):
        raise ConfigError(f"--wandb: expected entity/project, got {project}; copy it from the address of its page")
    import wandb  # takes a quarter of a second

    runs: list[Run] = []
    foreign = 0
    try:
        for one in wandb.Api(timeout=TIMEOUT).runs(project):
            text = one.summary.get(summary.FILE)
            if text is None:
                foreign += 1
                continue
            name, time = f"{project}/{one.name}", float(one.summary.get("_timestamp") or 0)
            try:
                runs.append(make_run(_parse_summary(str(text), f"the summary of {name}"), name, time))
            except ConfigError as error:
                warn(f"left out: {error}")
    except (wandb.errors.Error, ValueError, OSError) as error:
        raise ConfigError(f"--wandb: {project} cannot be read ({error}); check name, network and account") from error
    if not runs:
        raise ConfigError(f"--wandb: no run of {project} has a {summary.FILE}; name a project of lit_diffusion's runs")
    if foreign:
        warn(f"{foreign} of the runs of {project} have no {summary.FILE} and are left out")
    return runs


def _parse_summary(text: str, origin: str) -> dict[str, Any]:
    summary.check_size(len(text), origin)
    try:
        return summary.checked(json.loads(text), origin)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{origin} is damaged ({error}); remove it") from error


def make_run(content: dict[str, Any], name: str, time: float) -> Run:
    """The run that a summary describes. Raises ConfigError if a part has the wrong type."""
    status, seed, settings = content.get("status"), content.get("seed"), content.get("settings")
    if status not in STATUSES or not isinstance(seed, int | None) or not isinstance(settings, dict | None):
        raise ConfigError(f"{name}: status, seed or settings in its summary are invalid; remove the summary")
    try:
        scores = {score: _read_measurement(entry) for score, entry in content["scores"].items()}
        numbers = {**(content.get("facts") or {}), "nfe": _find_nfe(scores)}
        facts = {name: Measurement(float(number)) for name, number in numbers.items() if number is not None}
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{name}: the scores in its summary are damaged; remove the summary") from error
    return Run(name, status, content.get("reason"), seed, scores, settings, time, facts)


def _find_nfe(scores: Mapping[str, Measurement]) -> Any:
    """How often the network was evaluated for each sample that was scored at the end; None if none was."""
    found = (one.protocol.get("nfe") for name, one in scores.items() if not name.startswith(summary.TRACKED))
    return next((nfe for nfe in found if nfe is not None), None)


def _read_measurement(entry: dict[str, Any]) -> Measurement:
    def read_finite(key: str) -> float | None:
        number = math.nan if entry.get(key) is None else float(entry[key])
        return number if math.isfinite(number) else None

    return Measurement(read_finite("value"), read_finite("std"), dict(entry.get("protocol") or {}))
