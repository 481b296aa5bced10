"""Runs of a project on a W&B server: each run's summary holds the text of our summary.json."""

import json
import re
from typing import Any

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import summary
from lit_diffusion.table.runs import Run, Warn, run_of

TIMEOUT = 30  # seconds


def fetch_runs(project: str, warn: Warn) -> list[Run]:
    """The runs of `project`, written entity/project. warn: told of runs that are left out.

    Raises ConfigError where the server or the project cannot be reached, or holds no run of ours.
    """
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", project):
        raise ConfigError(f"--wandb: {project} is no project; write entity/project, as its page's address has them")
    import wandb  # a quarter of a second

    runs: list[Run] = []
    without = 0
    try:
        for one in wandb.Api(timeout=TIMEOUT).runs(project):
            if one.summary.get(summary.FILE) is None:
                without += 1
                continue
            try:
                runs.append(_run(one, f"{project}/{one.name}"))
            except ConfigError as error:
                warn(f"left out: {error}")
    except (wandb.errors.Error, ValueError, OSError) as error:
        raise ConfigError(f"--wandb: {project} cannot be read ({error}); check name, network and account") from error
    if not runs:
        raise ConfigError(f"--wandb: {project} has no run with a {summary.FILE}; write a project of this code's runs")
    if without:
        warn(f"{without} of the runs of {project} have no {summary.FILE} and are left out")
    return runs


def _run(one: Any, name: str) -> Run:
    text, origin = str(one.summary[summary.FILE]), f"the summary of {name}"
    summary.check_size(len(text), origin)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{origin} is damaged ({error}); remove it") from error
    return run_of(summary.checked(content, origin), name, float(one.summary.get("_timestamp") or 0))
