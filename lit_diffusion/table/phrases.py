"""Parts of warnings that stay short, however many rows there are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_LINES = 5
MOST_VALUES = 4


def some(names: Sequence[str]) -> str:
    """`a and 3 more`."""
    unique = list(dict.fromkeys(names))
    return unique[0] + (f" and {len(unique) - 1} more" if unique[1:] else "")


def more_rows(count: int) -> str:
    """`1 more row`."""
    return f"{count} more row{'s' * (count != 1)}"


def listed(values: Iterable[Any]) -> str:
    """`a, b, c`, each once, at most a few."""
    unique = list(dict.fromkeys(str(value) for value in values))
    more = [f"{len(unique) - MOST_VALUES} more"] if unique[MOST_VALUES:] else []
    return ", ".join([*unique[:MOST_VALUES], *more])


def said(values: Mapping[str, Sequence[str]]) -> str:
    """By value the rows that have it: `40 in a, 4000 in b and 1 more`."""
    return listed(f"{value} in {some(names)}" for value, names in values.items())


def first_few(lines: Mapping[str, str], rest: str) -> list[str]:
    """The first lines; of the others only what they are about, behind `rest`."""
    left = [*lines][MOST_LINES:]
    return [*[*lines.values()][:MOST_LINES], *([f"{rest} {len(left)} more: {', '.join(left)}"] if left else [])]
