"""Settings in diffusers' configurations: each is known and supported, or refused by name.

Tested against diffusers VERSION; the defaults of its classes are in `unet_config.py` and `scheduler.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lit_diffusion.errors import ConfigError, one_line

VERSION = "0.42.1"


def check_settings(
    config: Mapping[str, Any], defaults: Mapping[str, Any], choices: Mapping[str, Sequence[Any]], file: str
) -> dict[str, Any]:
    """All settings, including defaults. Raises ConfigError, by name, for what lit_diffusion cannot express.

    Ignores keys that start with `_`, which diffusers writes for itself.
    """
    given = {key: value for key, value in config.items() if not key.startswith("_")}
    if unknown := [key for key in given if key not in defaults]:
        key = unknown[0]
        raise ConfigError(
            f"{file}: {one_line(key)}: unknown setting {one_line(repr(given[key]))[:80]}, which is not supported"
        )
    settings = {**defaults, **given}
    for key, choice in choices.items():
        if key in settings and not any(is_same(settings[key], one) for one in choice):
            supported = " or ".join(map(repr, choice))
            raise ConfigError(f"{file}: {key}: expected {supported}, got {one_line(repr(settings[key]))[:80]}")
    return settings


def is_same(one: Any, other: Any) -> bool:
    """Equality that distinguishes True from 1 and False from 0.

    >>> is_same(1, 1.0), is_same(True, 1)
    (True, False)
    """
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def check_number(value: Any, where: str, least: float = 0, most: float = 1e6, whole: bool = False) -> Any:
    """Returns a number. Raises ConfigError unless it is within the bounds. where: the file and the key."""
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        kind = "whole number" if whole else "number"
        raise ConfigError(f"{where}: expected a {kind} from {least:g} to {most:g}, got {one_line(repr(value))[:80]}")
    return value
