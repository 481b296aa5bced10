"""What diffusers' configurations say: every setting is known and can be expressed by ours, or it is refused by name.

Tested against diffusers VERSION; its classes' defaults stand in `unet.py` and `scheduler.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lit_diffusion.errors import ConfigError, one_line

VERSION = "0.42.1"


def checked(
    config: Mapping[str, Any], defaults: Mapping[str, Any], choices: Mapping[str, Sequence[Any]], file: str
) -> dict[str, Any]:
    """All settings, with defaults. Raises ConfigError, by name, for what ours cannot express.

    Keys that begin with _ are diffusers' notes to itself.
    """
    given = {key: value for key, value in config.items() if not key.startswith("_")}
    if unknown := [key for key in given if key not in defaults]:
        key = unknown[0]
        raise ConfigError(f"{file}: {one_line(key)}: ours cannot express {one_line(repr(given[key]))[:80]}")
    settings = {**defaults, **given}
    for key, choice in choices.items():
        if key in settings and not any(same(settings[key], one) for one in choice):
            could = " or ".join(map(repr, choice))
            raise ConfigError(f"{file}: {key}: ours cannot express {one_line(repr(settings[key]))[:80]}, only {could}")
    return settings


def same(one: Any, other: Any) -> bool:
    """Equal, and true or false only as such."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def number(value: Any, where: str, least: float = 0, most: float = 1e6, whole: bool = False) -> Any:
    """A setting, if it is a number in these bounds. Raises ConfigError otherwise. where: file and key."""
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        kind = "whole number" if whole else "number"
        raise ConfigError(f"{where}: {one_line(repr(value))[:80]} is no {kind} from {least:g} to {most:g}; write one")
    return value
