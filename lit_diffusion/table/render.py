"""A table as text: for a terminal, as Markdown, as CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from lit_diffusion.errors import one_line
from lit_diffusion.table.experiment import FINISHED, Number
from lit_diffusion.table.model import Cell, Table
from lit_diffusion.table.widths import BREAKS, GAP, PARTS, squeezed, widths, wrapped

WIDTH = 120  # characters, where there is no terminal
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # at the beginning of a cell
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*|<["})


@dataclass(frozen=True)
class Symbols:
    """How a format writes what is no digit."""

    dash: str = "—"
    plus_minus: str = "±"
    escaped: Callable[[str], str] = str


IN_MARKDOWN = Symbols(escaped=lambda text: text.translate(MARKDOWN))


def cell_text(cell: Cell, symbols: Symbols = Symbols()) -> str:
    """A cell as `≤3.75 (3.72)`; empty where there is nothing to say."""
    first = number_text(cell.first, symbols)
    shows_second = cell.second.status and FINISHED in (cell.first.status, cell.second.status)
    return f"{first} ({number_text(cell.second, symbols)})" if shows_second else first


def number_text(number: Number, symbols: Symbols) -> str:
    """A number with its spread, or what there is in its place."""
    if number.status != FINISHED:
        return symbols.dash if number.status == "diverged" else number.status
    spread = f"{symbols.plus_minus}{number.std_text}" if number.std_text else ""
    return f"{symbols.escaped(number.prefix)}{number.text}{spread}"


def terminal(table: Table, console: Console) -> None:
    """Prints the table; the best numbers are bold on a terminal, and have a star elsewhere."""
    star = "" if console.is_terminal else "*"
    grid, left_out = _fitting(table, star, console.width)
    console.print(grid)
    if star and any(cell.best for row in table.rows for cell in row.cells):
        console.print(Text("\n* best of this code's numbers in its column"))
    elif table.notes or table.warnings:
        console.print()
    no_room = f"no room for {', '.join(left_out)}: a wider terminal and the other formats have it" if left_out else ""
    for line in filter(None, [no_room, *below(table)]):
        console.print(Text(line), soft_wrap=not console.is_terminal)


def _fitting(table: Table, star: str, width: int) -> tuple[RichTable, list[str]]:
    """The table in a width, and the titles of optional columns that it has no room for."""
    optional = [number for number, column in enumerate(table.columns) if column.optional]
    for count in range(len(optional) + 1):
        left_out = optional[len(optional) - count :]
        columns = _columns(table, star, left_out)
        for breaks in BREAKS:
            if sizes := widths([[text.plain for text in texts] for texts in columns], width, breaks):
                return _grid(table, columns, sizes, breaks), [table.columns[number].title.text for number in left_out]
    texts = [[text.plain for text in column] for column in columns]
    sizes = widths(texts, width, PARTS) or squeezed(texts, width)
    return _grid(table, columns, sizes, PARTS), [table.columns[number].title.text for number in left_out]


def _columns(table: Table, star: str, left_out: Sequence[int]) -> list[list[Text]]:
    """By column, each with its title first; a heading has only the first."""
    columns = [[Text(head)] for head in table.heads]
    kept = [number for number in range(len(table.columns)) if number not in left_out]
    columns += [[Text(table.columns[number].title.text)] for number in kept]
    for row in table.rows:
        texts = [Text(label.text, style="italic" if row.is_heading else "") for label in row.labels]
        for cell in (row.cells[number] for number in kept if row.cells):
            texts.append(Text(f"{cell_text(cell)}{star}", style="bold") if cell.best else Text(cell_text(cell)))
        for column, text in zip_longest(columns, texts, fillvalue=Text()):
            column.append(text)
    return columns


def _grid(table: Table, columns: Sequence[Sequence[Text]], sizes: Sequence[int], breaks: str) -> RichTable:
    title = Text(table.title.text, style="bold") if table.title else None
    grid = RichTable(title=title, title_justify="left", box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    lines = [
        [Text(wrapped(text.plain, size, breaks), style=text.style) for text in column]
        for column, size in zip(columns, sizes)
    ]
    for column, size in zip(lines, sizes):
        grid.add_column(column[0], width=size, overflow="fold")
    for row in zip(*(column[1:] for column in lines)):
        grid.add_row(*row)
    return grid


def plain(table: Table) -> str:
    """The table without a terminal, all columns within 120 characters."""
    file = io.StringIO()
    terminal(table, Console(file=file, width=WIDTH, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def below(table: Table) -> Iterator[str]:
    """Notes and warnings."""
    yield from table.notes
    yield from (f"warning: {warning}" for warning in table.warnings)


def markdown(table: Table) -> str:
    """As GitHub shows it."""
    titles = [*table.heads, *(column.title.text for column in table.columns)]
    lines = [f"**{table.title.text.translate(MARKDOWN)}**", ""] if table.title else []
    lines.append(_markdown_row(title.translate(MARKDOWN) for title in titles))
    lines.append(_markdown_row("---" if index < len(table.heads) else "---:" for index in range(len(titles))))
    for row in table.rows:
        labels = [label.text.translate(MARKDOWN) for label in row.labels]
        if row.is_heading:
            lines.append(_markdown_row([f"*{labels[0]}*", *[""] * (len(titles) - 1)]))
            continue
        texts = [cell_text(cell, IN_MARKDOWN) for cell in row.cells]
        texts = [f"**{text}**" if cell.best else text for text, cell in zip(texts, row.cells)]
        lines.append(_markdown_row([*labels, *texts]))
    notes = [f"- {line.translate(MARKDOWN)}" for line in below(table)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _markdown_row(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def comma_separated(table: Table) -> str:
    """For programs: every number unrounded, with its spread, its status and its seeds in columns of their own."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    scores = [f"{'paper ' * column.paper}{score}" for column in table.columns for score in column.scores]
    fields = [field for score in scores for field in (score, f"{score} std", f"{score} status", f"{score} seeds")]
    writer.writerow(
        [no_formula(text) for text in ("group", *(head or "row" for head in table.heads), "seeds", *fields)]
    )
    group = ""
    for row in table.rows:
        if row.is_heading:
            group = row.labels[0].text
            continue
        numbers = [
            number
            for cell, column in zip(row.cells, table.columns)
            for number in (cell.first, cell.second)[: len(column.scores)]
        ]
        runs = len(row.experiment.runs) if row.experiment else ""
        values = [value for one in numbers for value in (one.value, one.std, one.status, one.seeds or "")]
        labels = [no_formula(text) for text in (group, *(label.text for label in row.labels))]
        writer.writerow([*labels, runs, *values])
    return file.getvalue()


def no_formula(text: str) -> str:
    """A text on one line that no spreadsheet takes for a command; numbers stay."""
    text = one_line(text)
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text[:1] in FORMULA else text
    return text
