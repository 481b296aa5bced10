"""A configuration as flat settings: what a run is told apart by."""

from collections.abc import Mapping
from typing import Any


def flattened(config: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """Every setting by its dotted key as the command line writes it, without `init_args`; a class stands at its own key
    by its short name: {"model.reverse.process.schedule": "LinearSchedule", ".. .num_steps": 1000, ..}.
    """
    settings: dict[str, Any] = {}
    for name, value in config.items():
        if name == "class_path":
            settings[key] = str(value).rpartition(".")[2]
        elif name == "init_args":
            settings.update(flattened(value or {}, key))
        else:
            own = f"{key}.{name}" if key else str(name)
            settings.update(flattened(value, own) if isinstance(value, Mapping) else {own: value})
    return settings
