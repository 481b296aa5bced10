"""Classes of rows: the names that the cells of a label column give them."""

import re
from collections.abc import Sequence
from math import inf, isfinite
from pathlib import Path

from lit_diffusion.data.tabular_columns import place
from lit_diffusion.errors import ConfigError, one_line

WHOLE = re.compile(r"([+-]?)0*(0|[1-9][0-9]*)(\.0*)?")
EXACT = 2.0**53  # below it, every whole number is a float


def read_labels(file: Path, column: str, cells: Sequence[object], lines: Sequence[int] | None = None) -> list[str]:
    """The name of the class of every row. cells: text, numbers, or None for an empty one; column, lines: their place.

    Raises ConfigError with the place of the first row that has no class, whose cell is empty or not a finite number.
    """
    names = []
    for row, cell in enumerate(cells):
        name = class_name(cell)
        if name is None:
            got = ("" if cell is None else one_line(str(cell))) or "nothing"
            raise ConfigError(
                f"{place(file, row, column, lines)}: expected a class, got {got}; fill it in, or remove the "
                f"{'row' if lines is None else 'line'}"
            )
        names.append(name)
    return names


def class_name(cell: object) -> str | None:
    """What a class is called: text by itself, and a number by its value, so that 1, 1.0 and 01 are one class, "1".
    None for an empty cell, NaN or an infinity.
    """
    text = "" if cell is None else str(cell).strip()
    if match := WHOLE.fullmatch(text):
        sign, digits, _ = match.groups()
        return f"-{digits}" if sign == "-" and digits != "0" else digits
    number = to_float(text)
    if number is None:
        return text or None
    if not isfinite(number):
        return None
    return str(int(number)) if number.is_integer() and abs(number) < EXACT else repr(number)


def by_number(name: str) -> tuple[float, str]:
    """Sorts names of classes: numbers by size, then text."""
    number = to_float(name)
    return inf if number is None else number, name


def to_float(text: str) -> float | None:
    """The number that a text writes in ASCII digits, or None."""
    text = text.strip()
    if "_" in text or not text.isascii():  # which Python takes
        return None
    try:
        return float(text)
    except ValueError:
        return None
