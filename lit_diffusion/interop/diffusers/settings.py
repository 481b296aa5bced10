"""What diffusers' configurations say: every setting is known and can be expressed by ours, or it is refused by name.

Tested against diffusers VERSION; its classes' defaults stand in `unet.py` and `scheduler.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lit_diffusion.errors import ConfigError

VERSION = "0.42.1"


def checked(
    config: Mapping[str, Any], defaults: Mapping[str, Any], choices: Mapping[str, Sequence[Any]], file: str
) -> dict[str, Any]:
    """All settings, with defaults. Raises ConfigError, by name, for what ours cannot express.

    Keys that begin with _ are diffusers' notes to itself. Of a clip range nothing is asked where nothing is clipped.
    """
    given = {key: value for key, value in config.items() if not key.startswith("_")}
    if unknown := [key for key in given if key not in defaults]:
        raise ConfigError(f"{file}: {unknown[0]}: {given[unknown[0]]!r} is a setting that ours cannot express")
    settings = {**defaults, **given}
    for key, choice in choices.items():
        if key in settings and not any(same(settings[key], one) for one in choice):
            if key == "clip_sample_range" and settings["clip_sample"] is False:
                continue
            could = " or ".join(map(repr, choice))
            raise ConfigError(f"{file}: {key}: ours cannot express {settings[key]!r}, only {could}")
    return settings


def same(one: Any, other: Any) -> bool:
    """Equal, and true or false only as such."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def number(value: Any, where: str, least: float = 0, whole: bool = False) -> Any:
    """A setting, if it is a number. Raises ConfigError otherwise. where: file and key."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not value >= least:
        raise ConfigError(f"{where}: {value!r} is no {'whole ' if whole else ''}number from {least} on; write one")
    return value
