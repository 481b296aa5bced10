"""A table for a terminal, within its width."""

import io
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from lit_diffusion.table.formats import format_cell, list_lines_below
from lit_diffusion.table.table import Table

WIDTH = 120  # characters, without a terminal
GAP = 2  # characters between columns
# Where a line may end, best first: nowhere, between words, and within names if nothing else fits.
SPACES = r"(?<=[\s,/=])(?=\S)"
WORDS = rf"{SPACES}|(?<=\S)(?=±)"
PARTS = rf"{WORDS}|(?<=[._\-])(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
BREAKS = (r"(?!)", WORDS)


def print_table(table: Table, console: Console) -> None:
    """Prints the table; the best numbers are bold in a terminal and have a star elsewhere."""
    star = "" if console.is_terminal else "*"
    grid, shown, omitted = _fit(table, star, console.width)
    console.print(grid)
    if star and any(cell.best for row in table.rows for cell in row.cells):
        console.print(Text("\n* best of this code's numbers in its column"))
    elif table.notes or table.warnings:
        console.print()
    no_room = [f"no room for {', '.join(omitted)}: use a wider terminal or another format"] if omitted else []
    for line in (*no_room, *table.optional[shown:], *list_lines_below(table)):
        console.print(Text(line), soft_wrap=not console.is_terminal)


def format_plain(table: Table) -> str:
    """The table without a terminal, all columns within 120 characters."""
    file = io.StringIO()
    print_table(table, Console(file=file, width=WIDTH, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _fit(table: Table, star: str, width: int) -> tuple[RichTable, int, list[str]]:
    """The table within a width, how many of its optional heads it has, and the titles of the scores omitted for it."""
    titles = [*table.heads, *(column.title.text for column in table.columns)]
    all_columns = _make_columns(table, titles, star)
    for heads, scores, breaks in _list_choices(table):
        columns = [column for number, column in enumerate(all_columns) if number not in (*heads, *scores)]
        texts = [[text.plain for text in column] for column in columns]
        if sizes := choose_widths(texts, width, breaks):
            break
    assert sizes is not None  # lines that may end anywhere always fit
    grid = _make_grid(table, columns, sizes, breaks or PARTS)
    return grid, len(table.optional) - len(heads), [titles[number] for number in scores]


def _list_choices(table: Table) -> Iterator[tuple[Sequence[int], Sequence[int], str | None]]:
    """The heads and scores to omit and where lines may end (None: anywhere), best first. Rows that have names lose
    settings before their numbers break.
    """
    scores = [number for number, column in enumerate(table.columns, len(table.heads)) if column.optional]
    heads = range(1, 1 + len(table.optional))
    if heads:
        yield from (([], [], BREAKS[0]), ([], scores, BREAKS[0]))
        yield from ((heads[kept:], scores, SPACES) for kept in range(len(heads), -1, -1))
    else:
        yield from (([], scores[kept:], breaks) for kept in range(len(scores), -1, -1) for breaks in BREAKS)
    yield from ((heads, scores, breaks) for breaks in (WORDS, PARTS, None))


def _make_columns(table: Table, titles: Sequence[str], star: str) -> list[list[Text]]:
    """The texts of each column, its title first."""
    columns = [[Text(title)] for title in titles]
    for row in table.rows:
        texts = [Text(label.text, style="italic" if row.is_heading else "") for label in row.labels]
        for cell in row.cells:
            texts.append(Text(f"{format_cell(cell)}{star}", style="bold") if cell.best else Text(format_cell(cell)))
        for column, text in zip_longest(columns, texts, fillvalue=Text()):
            column.append(text)
    return columns


def _make_grid(table: Table, columns: Sequence[Sequence[Text]], sizes: Sequence[int], breaks: str) -> RichTable:
    title = Text(table.title.text, style="bold") if table.title else None
    grid = RichTable(title=title, title_justify="left", box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    lines = [
        [Text(wrap(text.plain, size, breaks), style=text.style) for text in column]
        for column, size in zip(columns, sizes)
    ]
    for column, size in zip(lines, sizes):
        grid.add_column(column[0], width=size, overflow="fold")
    for row in zip(*(column[1:] for column in lines)):
        grid.add_row(*row)
    return grid


def choose_widths(columns: Sequence[Sequence[str]], total: int, breaks: str | None) -> list[int] | None:
    """Widths of columns that fit into `total` characters if lines end at `breaks` only; None if there are none.

    breaks: None to end lines anywhere: then there are always widths, if need be of one character each.
    """
    room = total - GAP * (len(columns) - 1)
    most = [max(cell_len(text) for text in texts) for texts in columns]
    least = [1] * len(columns)
    if breaks is not None:
        pieces = ([piece.rstrip() for text in texts for piece in re.split(breaks, text)] for texts in columns)
        least = [max(map(cell_len, own)) for own in pieces]
    for cap in range(max(most), -1, -1):
        sizes = [max(low, min(high, cap)) for low, high in zip(least, most)]
        if sum(sizes) <= room:
            return sizes
    return least if breaks is None else None


def wrap(text: str, width: int, breaks: str) -> str:
    """A text in lines of at most `width` characters that end at `breaks`; longer pieces are cut."""
    lines = [""]
    for piece in re.split(breaks, text):
        if lines[-1] and cell_len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        first, *rest = chop_cells(piece.rstrip(), width) if cell_len(piece.rstrip()) > width else [piece]
        lines[-1:] = [lines[-1] + first, *rest]
    return "\n".join(line.rstrip() for line in lines)
