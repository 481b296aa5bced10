"""The `command` of a sweep file, which W&B's agents run: what of it holds for a run without an agent, too."""

import re
from typing import Any

from lit_diffusion.config.keys import option_key
from lit_diffusion.errors import ConfigError

SUBCOMMANDS = ("fit", "test")  # which write a summary
ARGUMENTS = "${args}"
EXAMPLE = '["${env}", "${program}", fit, -c, "${envvar:LIT_DIFFUSION_CONFIG}", "${args}"]'
FILES = ("-c", "--config")
OUTSIDE = ("run.dir", "run.name", "ckpt_path")  # given to a sweep from outside


def read_command(command: Any) -> tuple[str, tuple[str, ...]]:
    """The sub-command, and the options that every cell has. Raises ConfigError.

    The base configuration, the checkpoint and the names of runs are given from outside the file.
    """
    if not isinstance(command, list) or not command:
        raise ConfigError(f"command: says nothing; write {EXAMPLE}")
    items = [str(item) for item in command]
    for item in items:
        if item.startswith("${args") and item != ARGUMENTS:
            raise ConfigError(f"command: {item} writes no --key=value; write {ARGUMENTS}")
    if items[-1] != ARGUMENTS or items.count(ARGUMENTS) != 1:
        raise ConfigError(f"command: the swept values have the last word; write {ARGUMENTS} once, at the end")
    start = next((index for index, item in enumerate(items) if item in SUBCOMMANDS), None)
    if start is None:
        raise ConfigError(f"command: has no sub-command; write one of {', '.join(SUBCOMMANDS)}, as {EXAMPLE}")
    return items[start], read_options(items[start + 1 : -1])


def read_options(items: list[str]) -> tuple[str, ...]:
    """The `--key=value` items, without those that are given from outside."""
    options, rest = [], iter(items)
    for item in rest:
        flag, equals, value = item.partition("=")
        if flag in FILES:
            value = value if equals else next(rest, "nothing")
            if not re.fullmatch(r"\$\{envvar:[A-Z0-9_]+\}", value):
                raise ConfigError(
                    f"command: {flag}: {value} is fixed; write ${{envvar:LIT_DIFFUSION_CONFIG}} for the base, and "
                    "sweep overlays as the parameter config"
                )
        elif not (equals and flag.startswith("--")):
            raise ConfigError(f"command: {item} is no --key=value; write it as one item with an equals sign")
        elif option_key(item) == "allow":
            raise ConfigError(f"command: {item}: a file does not say whom to trust; write --allow behind the command")
        elif option_key(item) not in OUTSIDE:
            if "${" in value:
                raise ConfigError(f"command: {item} is known to an agent only; write the value")
            options.append(item)
    return tuple(options)
