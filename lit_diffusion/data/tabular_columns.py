"""Tables of numbers as they were read, and which of a file's columns they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.memory import usable_memory

SHOWN = 10  # names in a message
SHARE_OF_MEMORY = 1 / 2


@dataclass(frozen=True)
class RowTable:
    """Numbers (N, D) float64 of a file. names: of the D columns, from the header, or their numbers in the file, counted
    from 1; labels: names of the classes of the N rows, or None; lines: where the rows stand in a text file; read_from:
    the columns of the file, if these are fewer than D, since they hold lists.
    """

    file: Path
    values: np.ndarray
    names: list[str]
    labels: list[str] | None = None
    lines: Sequence[int] | None = None
    read_from: Sequence[str] | None = None

    def rows(self, mask: np.ndarray) -> "RowTable":
        """The rows for which mask (N,) is true; their places are then unknown."""
        labels = None if self.labels is None else [self.labels[row] for row in mask.nonzero()[0]]
        return RowTable(self.file, self.values[mask], self.names, labels)

    def place(self, row: int, column: int) -> str:
        """Where a value stands, for messages."""
        return place(self.file, row, self.names[column], self.lines)


def place(file: Path, row: int, column: str, lines: Sequence[int] | None) -> str:
    """Where a cell stands, for messages. lines: of the rows in a text file."""
    where = f"row {row + 1}" if lines is None else f"line {lines[row]}"
    return f"{file}, {where}, column {column}"


@dataclass(frozen=True)
class Columns:
    """chosen: names of the columns to read, in order, None for all; label: of the column with labels, or None; key: the
    setting that chooses.
    """

    chosen: Sequence[str] | None = None
    label: str | None = None
    key: str = "data.columns"

    def among(self, file: Path, names: Sequence[str]) -> tuple[list[int], int | None]:
        """Positions of the columns and of the label column. Raises ConfigError if one is missing or ambiguous."""
        others = [name for name in names if name not in (self.chosen or ())]
        label = None if self.label is None else position("data.label_column", self.label, file, names, others)
        others = [name for name in names if name != self.label]
        if self.chosen is None:
            if twice := [name for i, name in enumerate(names) if name in names[:i]]:
                raise ConfigError(f"{file}: two columns are named {one_line(twice[0])!r}; rename one")
            return [i for i in range(len(names)) if i != label], label
        return [position(self.key, name, file, names, others) for name in self.chosen], label


def position(key: str, name: str, file: Path, names: Sequence[str], others: Sequence[str]) -> int:
    """Where a name, which `key` gives, stands among the names of a file's columns. others: to choose from instead."""
    if names.count(name) != 1:
        found = "two columns" if name in names else "no column"
        unique = [other for other in others if names.count(other) == 1]
        advice = f"; use one of {in_words(unique)}" if unique else ""
        raise ConfigError(f"{file} has {found} {name!r}" + advice, key)
    return names.index(name)


def in_words(names: Sequence[str]) -> str:
    """The first of many names."""
    more = [f"... ({len(names)} in all)"] if len(names) > SHOWN else []
    return one_line(", ".join([*names[:SHOWN], *more]))


def numbered(count: int) -> list[str]:
    """The names of columns without a header."""
    return [str(i) for i in range(1, count + 1)]


def most_numbers() -> int:
    """How many float64 numbers fit into half of the memory that this process may use."""
    return int(SHARE_OF_MEMORY * usable_memory()) // 8


def check_size(file: Path, numbers: int, most: int) -> None:
    """Raises ConfigError if a file holds more numbers than `most`."""
    if numbers > most:
        raise ConfigError(f"{file}: {numbers:,} numbers or more, but half of the memory holds {most:,}; use fewer")
