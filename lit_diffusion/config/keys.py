"""Dotted keys of settings, such as model.sampler.steps: parsed, normalised, compared and shortened."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

PACKAGE = "lit_diffusion"


def flatten(config: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """The settings of a nested configuration by dotted keys without `init_args`, as on the command line.

    The short name of a class is the value at the key of the class.

    >>> flatten({"data": {"class_path": "lit_diffusion.data.Digits", "init_args": {"batch_size": 128}}})
    {'data': 'Digits', 'data.batch_size': 128}
    """
    settings: dict[str, Any] = {}
    for name, value in config.items():
        if name == "class_path":
            settings[key] = last_part(str(value))
        elif name == "init_args":
            settings.update(flatten(value, key) if isinstance(value, Mapping) else {})
        else:
            below = f"{key}.{name}" if key else str(name)
            settings.update(flatten(value, below) if isinstance(value, Mapping) else {below: value})
    return settings


def walk(content: Any) -> Iterator[tuple[Any, int]]:
    """Every part of nested mappings (keys included) and lists with its level, 0 for the whole; without recursion, so
    that deep nesting does not exhaust the stack.
    """
    left = [(content, 0)]
    while left:
        part, level = left.pop()
        yield part, level
        if isinstance(part, Mapping):
            left += [(inner, level + 1) for pair in part.items() for inner in pair]
        elif isinstance(part, list | tuple | set):
            left += [(inner, level + 1) for inner in part]


def drop_init_args(key: str) -> str:
    """A key without its `init_args` levels, which may be written or omitted."""
    return ".".join(part for part in key.split(".") if part != "init_args")


def normalize_key(key: str) -> str:
    """A key as `flatten` writes it: without `init_args` and `class_path`."""
    return ".".join(part for part in key.split(".") if part not in ("init_args", "class_path"))


def option_key(option: str) -> str:
    """The key of an option `--key=value`, without `init_args`.

    >>> option_key("--model.init_args.sampler.init_args.steps=50")
    'model.sampler.steps'
    """
    return drop_init_args(option.partition("=")[0].removeprefix("--"))


def last_part(key: str) -> str:
    """The text after the last dot.

    >>> last_part("lit_diffusion.diffusion.Simple")
    'Simple'
    """
    return key.rpartition(".")[2]


def is_within(key: str, others: Iterable[str]) -> bool:
    """Whether a key equals one of the others or lies below one of them.

    >>> is_within("model.sampler.steps", ["model.sampler"]), is_within("model.sampler2", ["model.sampler"])
    (True, False)
    """
    return any(f"{key}.".startswith(f"{other}.") for other in others)


def shorten_class(path: str) -> str:
    """The class name of an import path within this package; a path of another package unchanged."""
    return last_part(path) if is_within(path, [PACKAGE]) else path


def shorten_keys(keys: Sequence[str]) -> dict[str, str]:
    """By key, its shortest ending that distinguishes it from the others.

    >>> shorten_keys(["model.sampler.steps", "trainer.max_steps", "warmup.steps"])
    {'model.sampler.steps': 'sampler.steps', 'trainer.max_steps': 'max_steps', 'warmup.steps': 'warmup.steps'}
    """

    def endings(key: str) -> list[str]:
        parts = key.split(".")
        return [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]

    short = {}
    for key in keys:
        others = {ending for other in keys if other != key for ending in endings(other)}
        short[key] = next((ending for ending in endings(key) if ending not in others), key)
    return short


def count_shared_parts(option: str, key: str) -> int:
    """How many parts of a key a command-line option sets: 0 unless one of the two lies within the other."""
    if not (is_within(option, [key]) or is_within(key, [option])):
        return 0
    return min(option.count("."), key.count(".")) + 1


def count_set_parts(content: Any, key: Sequence[str]) -> int:
    """How many parts of a key a nested configuration contains, not counting its `init_args` levels."""
    if isinstance(content, list):
        return max((count_set_parts(one, key) for one in content), default=0)
    if not key or not isinstance(content, Mapping):
        return 0
    if key[0] in content:
        return 1 + count_set_parts(content[key[0]], key[1:])
    return count_set_parts(content["init_args"], key) if "init_args" in content else 0


def settings_at(config: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The settings of a nested configuration right below a dotted key, by name; of a list those of all its parts."""
    if isinstance(config, list):
        for one in config:
            yield from settings_at(one, key)
    elif isinstance(config, Mapping) and "init_args" in config:
        yield from settings_at(config["init_args"], key)
    elif isinstance(config, Mapping):
        first, _, rest = key.partition(".")
        yield from settings_at(config.get(first), rest) if key else config.items()


def find_class(config: Any, name: str, key: tuple[str, ...] = ()) -> str | None:
    """The key at which a nested configuration names a class, or of the list with it, without `init_args`; None if it
    does not.
    """
    if isinstance(config, list):
        return next(filter(None, (find_class(value, name, key) for value in config)), None)
    if not isinstance(config, dict):
        return None
    if last_part(str(config.get("class_path", ""))) == name:
        return drop_init_args(".".join(key))
    return next(filter(None, (find_class(value, name, (*key, part)) for part, value in config.items())), None)
