"""Sweep files: W&B's format, read and expanded into cells without a server."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_diffusion.config.config_files import find
from lit_diffusion.config.keys import drop_init_args, option_key
from lit_diffusion.config.untrusted_yaml import load
from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.cell import Cell
from lit_diffusion.sweep.parameters import Parameter, hash_to_fraction, read_parameter

METHODS = ("grid", "random", "bayes")
KEYS = (
    *("name", "description", "project", "entity", "program", "method", "metric"),
    *("parameters", "run_cap", "early_terminate", "command"),
)
MOST_CELLS = 10_000
DRAWS = 100  # per cell of a random search, before its space counts as exhausted
SUBCOMMANDS = ("fit", "test")  # those that write a summary
ARGUMENTS = "${args}"
COMMAND = '["${env}", "${program}", fit, -c, "${envvar:LIT_DIFFUSION_CONFIG}", "${args}"]'
FOLDER = ("run.dir", "run.name")
OUTSIDE = (*FOLDER, "ckpt_path")  # given to a sweep, not by its file
UNTRUSTED = "a file cannot extend the trusted packages; put --allow on the command line"


@dataclass(frozen=True)
class SweepFile:
    """A question and the runs that answer it.

    metric: `name` of a score, as in `summary.json` and on W&B, and `goal`, minimize or maximize; empty if not given.
    parameters: the values of each swept key, in the file's order. subcommand, options: the command of every run, next
    to the base configuration. notes: a line for each thing that W&B's server does with the file and we do not.
    """

    path: Path
    name: str
    method: str
    metric: Mapping[str, str]
    parameters: Mapping[str, Parameter]
    run_cap: int | None
    subcommand: str
    options: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, name: str | Path) -> "SweepFile":
        """The sweep file of that name, here or among the shipped ones.

        Raises ConfigError, which begins with its path and the key, for anything that would stop it here or at W&B.
        """
        path = find(str(name), "sweeps")
        content = load(path)
        try:
            _check_keys(content)
            subcommand, options = read_command(content.get("command"))
            parameters = read_parameters(content.get("parameters"), content["method"], options)
            metric = read_metric(content.get("metric"), content["method"])
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        of_server = {"early_terminate": content, "target": content.get("metric") or {}}
        notes = tuple(
            f"{path}: only W&B's server uses {key}; here every cell runs to its end"
            for key, place in of_server.items()
            if key in place
        )
        title, run_cap = content.get("name", path.stem), content.get("run_cap")
        return cls(path, title, content["method"], metric, parameters, run_cap, subcommand, options, notes)

    def limit(self, cap: int | None = None) -> int | None:
        """The largest number of cells: `cap`, or else the file's run_cap; None for all cells of a grid."""
        limit = self.run_cap if cap is None else cap
        if limit is None and self.method != "grid":
            raise ConfigError(f"{self.path}: run_cap: {self.method} needs a number of cells; set run_cap: 20")
        return limit

    def cells(self, cap: int | None = None, seed: int = 0) -> list[Cell]:
        """All cells: of a grid in the file's order, the first parameter varying slowest; of random, `limit(cap)` draws.

        A draw is a function of (key, its values, seed, number of the draw): a higher cap only adds cells, and another
        range for one key does not change the values of the others. Repeated cells are dropped.

        Raises ConfigError for bayes, whose cells depend on scores: see `bayes.suggest`.
        """
        limit = self.limit(cap)
        if self.method == "bayes":
            raise ConfigError(
                f"{self.path}: method: bayes chooses each cell by the scores of earlier ones; run it to see them"
            )
        if limit is None or self.method == "grid":
            values = itertools.product(*(parameter.list_values() or () for parameter in self.parameters.values()))
            return [Cell(tuple(zip(self.parameters, one))) for one in itertools.islice(values, limit)]
        found: dict[tuple[str, ...], Cell] = {}
        for index in range(DRAWS * limit):
            draws = {key: hash_to_fraction(seed, index, drop_init_args(key)) for key in self.parameters}
            cell = Cell(tuple((key, one.at(draws[key])) for key, one in self.parameters.items()))
            found.setdefault(tuple(cell.arguments), cell)
            if len(found) == limit:
                break
        return [*found.values()]


def _check_keys(content: Any) -> None:
    """Raises ConfigError for an unknown key, and for the values of those that need no further reading."""
    if not isinstance(content, Mapping):
        raise ConfigError("no sweep; set method, parameters and command, as in sweeps/table2.yaml")
    for key in content:
        if key not in KEYS:
            raise ConfigError(f"{key}: unknown key; choose one of {', '.join(KEYS)}")
    if content.get("method") not in METHODS:
        raise ConfigError(f"method: expected {', '.join(METHODS)}; got {content.get('method')}")
    if not isinstance(content.get("program"), str):
        raise ConfigError("program: W&B needs it; set program: lightning")
    name = content.get("name", "sweep")
    if not isinstance(name, str) or Path(name).name != name or name == "..":
        raise ConfigError(f"name: expected the name of a folder, such as table2; got {name}")
    cap = content.get("run_cap")
    if cap is not None and (type(cap) is not int or not 1 <= cap <= MOST_CELLS):
        raise ConfigError(f"run_cap: expected a whole number from 1 to {MOST_CELLS}, got {str(cap)[:20]}")


def read_metric(metric: Any, method: str) -> dict[str, str]:
    """Its name and goal; empty if there is none, unless bayes needs it."""
    if metric is None and method != "bayes":
        return {}
    example = "set metric: {name: fid, goal: minimize}"
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        raise ConfigError(f"metric: no name of a score; {example}")
    for key in metric:
        if key not in ("name", "goal", "target"):
            raise ConfigError(f"metric.{key}: unknown key; {example}")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise ConfigError(f"metric.goal: expected minimize or maximize, got {goal}")
    return {"name": metric["name"], "goal": goal}


def read_parameters(parameters: Any, method: str, options: tuple[str, ...]) -> dict[str, Parameter]:
    """The values of each swept key. Raises ConfigError for keys that a file cannot set, or that are set twice."""
    if not isinstance(parameters, Mapping) or not parameters:
        raise ConfigError("parameters: expected keys and values, such as model.sampler.steps: {values: [10, 50]}")
    taken = {option_key(option): "in command" for option in options}
    result: dict[str, Parameter] = {}
    cells = 1
    for key, spec in parameters.items():
        place = f"parameters.{key}"
        if not (isinstance(key, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", key)):
            raise ConfigError(f"{place}: expected a dotted key, such as model.optimizer.lr")
        same = drop_init_args(key)
        if same in FOLDER:
            raise ConfigError(f"{place}: each cell has its own folder; omit it")
        if same == "allow":
            raise ConfigError(f"{place}: {UNTRUSTED}")
        if same in taken:
            raise ConfigError(f"{place}: also set {taken[same]}; set it once")
        taken[same] = f"as {key}"
        try:
            result[key] = read_parameter(spec)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from error
        if method == "grid":
            values = result[key].list_values()
            if values is None:
                raise ConfigError(f"{place}: a grid cannot list a distribution; use values, or method: random")
            cells *= values.stop - values.start if isinstance(values, range) else len(values)
    if cells > MOST_CELLS:
        raise ConfigError(f"parameters: more than {MOST_CELLS} cells; use fewer values")
    return result


def read_command(command: Any) -> tuple[str, tuple[str, ...]]:
    """The sub-command and the options that all cells share, from the command of W&B's agents.

    The base configuration, the checkpoint and the names of runs are not read: they are given to a sweep, not by its
    file. Raises ConfigError for a command that would not work here or at W&B.
    """
    if not isinstance(command, list) or not command:
        raise ConfigError(f"command: missing; set it to {COMMAND}")
    items = [str(item) for item in command]
    for item in items:
        if item.startswith("${args") and item != ARGUMENTS:
            raise ConfigError(f"command: {item} does not write --key=value; use {ARGUMENTS}")
    if items[-1] != ARGUMENTS or items.count(ARGUMENTS) != 1:
        raise ConfigError(f"command: swept values must override all others; put {ARGUMENTS} once, at the end")
    start = next((index for index, item in enumerate(items) if item in SUBCOMMANDS), None)
    if start is None:
        raise ConfigError(f"command: no sub-command; add one of {', '.join(SUBCOMMANDS)}, as in {COMMAND}")
    return items[start], tuple(_read_options(items[start + 1 : -1]))


def _read_options(items: list[str]) -> list[str]:
    """The `--key=value` items, except those that are given to a sweep from outside."""
    options, rest = [], iter(items)
    for item in rest:
        flag, equals, value = item.partition("=")
        key = option_key(item)
        if flag in ("-c", "--config"):
            value = value if equals else next(rest, "nothing")
            if not re.fullmatch(r"\$\{envvar:[A-Z0-9_]+\}", value):
                raise ConfigError(
                    f"command: {flag}: expected ${{envvar:LIT_DIFFUSION_CONFIG}} for the base, got {value}; sweep "
                    "overlays as the parameter config"
                )
        elif not (equals and flag.startswith("--")):
            raise ConfigError(f"command: expected --key=value as one item, got {item}")
        elif key == "allow":
            raise ConfigError(f"command: {item}: {UNTRUSTED}")
        elif key not in OUTSIDE:
            if "${" in value:
                raise ConfigError(f"command: only an agent knows {item}; set the value itself")
            options.append(item)
    return options
