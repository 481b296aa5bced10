"""Sweep files: W&B's format, read and expanded into cells without a server."""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_diffusion.config.keys import drop_init_args, option_key
from lit_diffusion.config.sources import find
from lit_diffusion.config.untrusted_yaml import load
from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.agent_command import OUTSIDE, read_command
from lit_diffusion.sweep.cell import Cell
from lit_diffusion.sweep.parameter_spec import read_parameter
from lit_diffusion.sweep.parameters import Parameter, fraction

METHODS = ("grid", "random", "bayes")
KEYS = (
    *("name", "description", "project", "entity", "program", "method", "metric"),
    *("parameters", "run_cap", "early_terminate", "command"),
)
MOST_CELLS = 10_000
DRAWS = 100  # for each cell of a random search, before its space counts as exhausted


@dataclass(frozen=True)
class SweepFile:
    """A question and the runs that answer it.

    metric: `name` of a score, as in `summary.json` and on W&B, and `goal`, minimize or maximize; bayes always has one.
    parameters: the values of each swept key, in the file's order. subcommand, options: what every run is told, beside
    the base configuration. notes: what W&B's server does with the file and we do not, a line each.
    """

    path: Path
    name: str
    method: str
    metric: Mapping[str, str] | None
    parameters: Mapping[str, Parameter]
    run_cap: int | None
    subcommand: str
    options: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, name: str | Path) -> "SweepFile":
        """The sweep file of that name, here or among the shipped ones.

        Raises ConfigError, beginning with its path and the key, for whatever would stop it here or at W&B.
        """
        path = find(str(name), "sweeps")
        content = load(path)
        try:
            check(content)
            subcommand, options = read_command(content.get("command"))
            parameters = read_parameters(content.get("parameters"), content["method"], options)
            metric = read_metric(content.get("metric"), content["method"])
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        own = {"early_terminate": content, "target": content.get("metric") or {}}
        notes = tuple(
            f"{path}: {key} is W&B's server's; here every cell runs to its end" for key in own if key in own[key]
        )
        title, run_cap = content.get("name", path.stem), content.get("run_cap")
        return cls(path, title, content["method"], metric, parameters, run_cap, subcommand, options, notes)

    def limit(self, cap: int | None = None) -> int | None:
        """How many cells there are at most: `cap`, else the file's run_cap. None: all of a grid."""
        limit = self.run_cap if cap is None else cap
        if limit is None and self.method != "grid":
            raise ConfigError(f"{self.path}: run_cap: {self.method} has no end of its own; write run_cap: 20")
        return limit

    def cells(self, cap: int | None = None, seed: int = 0) -> list[Cell]:
        """All cells: of a grid in the file's order, the first parameter varying slowest; of random, `limit(cap)` draws.

        A draw is a function of (key, its values, seed, number of the draw): a higher cap only adds cells, and another
        range for one key leaves the others' values. Cells that are drawn again are left out.

        Raises ConfigError for bayes, whose cells depend on scores: see `bayes.suggest`.
        """
        limit = self.limit(cap)
        if self.method == "bayes":
            raise ConfigError(
                f"{self.path}: method: bayes chooses each cell by the scores before it; run it to see them"
            )
        if self.method == "grid":
            values = itertools.product(*(parameter.listed() for parameter in self.parameters.values()))
            return [Cell(tuple(zip(self.parameters, one))) for one in itertools.islice(values, limit)]
        found: dict[tuple[str, ...], Cell] = {}
        for index in range(DRAWS * limit):
            cell = Cell(
                tuple((key, one.at(fraction(seed, index, drop_init_args(key)))) for key, one in self.parameters.items())
            )
            found.setdefault(tuple(cell.arguments), cell)
            if len(found) == limit:
                break
        return [*found.values()]


def check(content: Any) -> None:
    """The top-level keys that stand for themselves."""
    if not isinstance(content, Mapping):
        raise ConfigError("holds no sweep; write method, parameters and command, as in sweeps/table2.yaml")
    for key in content:
        if key not in KEYS:
            raise ConfigError(f"{key}: there is no such key; write one of {', '.join(KEYS)}")
    if content.get("method") not in METHODS:
        raise ConfigError(f"method: there is no method {content.get('method')}; write one of {', '.join(METHODS)}")
    if not isinstance(content.get("program"), str):
        raise ConfigError("program: W&B needs one; write program: lightning")
    name = content.get("name", "sweep")
    if not isinstance(name, str) or Path(name).name != name or name == "..":
        raise ConfigError(f"name: {name} is no name of a folder; write one, as table2")
    cap = content.get("run_cap")
    if cap is not None and (type(cap) is not int or not 1 <= cap <= MOST_CELLS):
        raise ConfigError(f"run_cap: {str(cap)[:20]} is no number of runs; write 1 or more, as 20, up to {MOST_CELLS}")


def read_metric(metric: Any, method: str) -> dict[str, str] | None:
    """Its name and goal; only bayes needs one."""
    if metric is None and method != "bayes":
        return None
    example = "write metric: {name: fid, goal: minimize}"
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        raise ConfigError(f"metric: names no score; {example}")
    for key in metric:
        if key not in ("name", "goal", "target"):
            raise ConfigError(f"metric.{key}: there is no such key; {example}")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise ConfigError(f"metric.goal: {goal} is no goal; write minimize or maximize")
    return {"name": metric["name"], "goal": goal}


def read_parameters(parameters: Any, method: str, options: tuple[str, ...]) -> dict[str, Parameter]:
    """The values of each key."""
    if not isinstance(parameters, Mapping) or not parameters:
        raise ConfigError(
            "parameters: there are none; write keys and values, as model.sampler.steps: {values: [10, 50]}"
        )
    taken = {option_key(option): "in command" for option in options}
    result = {}
    for key, spec in parameters.items():
        if not (isinstance(key, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", key)):
            raise ConfigError(f"parameters.{key}: is no setting; write a dotted key, as model.optimizer.lr")
        known = drop_init_args(key)
        if known in OUTSIDE[:2]:
            raise ConfigError(f"parameters.{key}: each cell has its own folder; leave it out")
        if known == "allow":
            raise ConfigError(f"parameters.{key}: a file does not say whom to trust; write --allow behind the command")
        if known in taken:
            raise ConfigError(f"parameters.{key}: stands {taken[known]} too; write it once")
        taken[known] = f"as {key}"
        try:
            result[key] = read_parameter(spec)
        except ConfigError as error:
            raise ConfigError(f"parameters.{key}: {error}") from error
        if method == "grid" and result[key].count() is None:
            raise ConfigError(f"parameters.{key}: a grid cannot list a distribution; write values, or method: random")
    if method == "grid":
        cells = math.prod(one.count() for one in result.values())
        if cells > MOST_CELLS:
            raise ConfigError(f"parameters: these are more than {MOST_CELLS} cells; write fewer values")
    return result
