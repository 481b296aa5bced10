"""Tables from text files: comma-separated values and their relatives."""

import csv
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from lit_diffusion.data.tabular_columns import Columns, RowTable, check_size, in_words, most_numbers, numbered
from lit_diffusion.data.tabular_labels import read_labels, to_float
from lit_diffusion.errors import ConfigError, one_line

BOOLEANS = {"true": 1.0, "false": 0.0}
DELIMITERS = {",": "','", ";": "';'", "\t": "'\\t'", " ": "' '"}


def read_csv(path: Path, columns: Columns, header: bool | None, delimiter: str | None) -> RowTable:
    """The chosen columns of a text file in UTF-8. Empty lines and lines that begin with # are skipped.

    header: whether the first line holds the names of the columns; None: if none of its cells is a number. delimiter:
    None for a tab in `.tsv` files and a comma in others. Raises ConfigError that names the line.
    """
    delimiter = delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            return _read(path, columns, header, delimiter, rows)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected text in UTF-8 ({one_line(error)}); convert the file") from error
    except csv.Error as error:
        raise ConfigError(f"{path}, line {rows.line_num}: {one_line(error)}; write one example a line") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({one_line(error)})") from error


def _read(path: Path, columns: Columns, header: bool | None, delimiter: str, rows: Any) -> RowTable:
    """The table of a `csv.reader`, which counts lines."""
    names, values, lines, labels = list[str](), array("d"), array("q"), list[str]()
    chosen, label, most = list[int](), None, most_numbers()
    for cells in rows:
        if cells in ([], [""]) or cells[0].startswith("#"):
            continue
        if not names:
            has_names = is_header(path, cells, header, delimiter)
            names, first_line = [cell.strip() for cell in cells] if has_names else numbered(len(cells)), rows.line_num
            chosen, label = columns.among(path, names)
            if has_names:
                continue
        if len(cells) != len(names):
            raise ConfigError(
                f"{path}, line {rows.line_num}: expected {len(names)} cells as in line {first_line}, got {len(cells)}"
            )
        try:
            values.extend([to_number(cells[i]) for i in chosen])
        except ValueError:
            wrong = next(i for i in chosen if not is_number(cells[i]))
            got = repr(one_line(cells[wrong])[:40]) if cells[wrong].strip() else "nothing"
            raise ConfigError(
                f"{path}, line {rows.line_num}, column {names[wrong]}: expected a number, got {got}; fix or remove the "
                "line, or choose others by `columns`" + hint(cells, delimiter)
            ) from None
        lines.append(rows.line_num)
        if label is not None:
            labels.append(cells[label].strip())
        check_size(path, len(values), most)
    if not lines:
        raise ConfigError(f"{path}: expected rows of numbers, found none")
    matrix = np.frombuffer(values, dtype=np.float64).reshape(len(lines), len(chosen))
    classes = None if label is None else read_labels(path, names[label], labels, lines)
    return RowTable(path, matrix, [names[i] for i in chosen], classes, lines)


def is_header(path: Path, cells: list[str], header: bool | None, delimiter: str) -> bool:
    """Whether the first line holds names. Raises ConfigError if some of its cells are numbers and some are not."""
    if header is not None:
        return header
    numbers = [looks_like_number(cell) for cell in cells if cell.strip()]
    if any(numbers) and not all(numbers):
        raise ConfigError(
            f"the first line of {path} has both numbers and text ({in_words(cells)}); use true if these are names of "
            "columns, or false and choose numbers by `columns`",
            key="data.header",
        )
    if not any(numbers) and hint(cells, delimiter):
        raise ConfigError(
            f"{path}: expected cells separated by {DELIMITERS.get(delimiter, repr(delimiter))}, got a "
            f"line without any" + hint(cells, delimiter)
        )
    return not any(numbers)


def to_number(cell: str) -> float:
    """The number in a cell; True and False are 1 and 0. Raises ValueError for other text."""
    value = to_float(cell)
    if value is None and (value := BOOLEANS.get(cell.strip().lower())) is None:
        raise ValueError(cell)
    return value


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    try:
        to_number(cell)
    except ValueError:
        return False
    return True


def looks_like_number(cell: str) -> bool:
    """Whether a cell holds a number, or what Python takes for one, such as 1_000: it names no column."""
    try:
        float(cell)
    except ValueError:
        return is_number(cell)
    return True


def hint(cells: list[str], delimiter: str) -> str:
    """What to write if another character separates the cells of a line."""
    others = [c for c in DELIMITERS if c != delimiter and any(c in cell.strip() for cell in cells)]
    if len(cells) > 1 or not others:
        return ""
    return f"; if {DELIMITERS[others[0]]} separates them, set delimiter: {DELIMITERS[others[0]]}"
