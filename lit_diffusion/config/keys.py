"""Nested settings: as flat ones, by which runs are told apart, and one value after the other."""

from collections.abc import Iterator, Mapping
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


def walk(content: Any) -> Iterator[tuple[Any, int]]:
    """Everything in nested mappings, keys included, and lists, with its level, 0 for the whole. Deep ones take no more
    of the stack than flat ones.
    """
    left = [(content, 0)]
    while left:
        one, level = left.pop()
        yield one, level
        if isinstance(one, Mapping):
            left += [(part, level + 1) for pair in one.items() for part in pair]
        elif isinstance(one, list | tuple | set):
            left += [(part, level + 1) for part in one]
