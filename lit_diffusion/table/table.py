"""From a layout and runs to a table."""

from collections.abc import Sequence
from dataclasses import replace

from lit_diffusion.errors import ConfigError
from lit_diffusion.table.experiment import FINISHED, experiments_of
from lit_diffusion.table.layout import Column, Label, Layout
from lit_diffusion.table.mistakes import mistakes
from lit_diffusion.table.model import Table, TableRow
from lit_diffusion.table.notes import notes_of
from lit_diffusion.table.protocols import different_steps, disagreements
from lit_diffusion.table.rows import Rows
from lit_diffusion.table.runs import Run
from lit_diffusion.table.scores import KNOWN, is_known
from lit_diffusion.table.training import differences

DIFFERS = "differs in"


def build(layout: Layout, runs: Sequence[Run], warnings: Sequence[str] = ()) -> Table:
    """The table. warnings: of what came before. Raises ConfigError where a column's score is none."""
    told = list(warnings)
    ours = list(dict.fromkeys(score for column in layout.columns if not column.paper for score in column.scores))
    experiments = experiments_of(runs, ours, told.append)
    maker = Rows(layout, experiments)
    rows, heads = list(maker.rows()), maker.heads
    _check_scores(layout, rows)
    if maker.unmatched:
        names = [one.runs[0].name for one in maker.unmatched]
        some = ", ".join([*names[:3], *(["..."] if names[3:] else [])])
        told.append(f"{len(names)} of {len(experiments)} experiments match no row of this table: {some}")
    if any(row.labels[-1].text for row in rows if len(row.labels) > len(heads)):
        heads = [*heads, DIFFERS]
    rows = [replace(row, labels=[_printable(label) for label in row.labels[: len(heads)]]) for row in rows]
    rows = _with_best(rows, layout.columns)
    told += [*maker.shared(), *mistakes(layout, runs)]
    if layout.compare:
        trained, keys = differences(rows, ours, maker.row_keys)
        told += [*trained, *disagreements(rows, ours, [*maker.row_keys, *keys]), *different_steps(rows, ours)]
    columns = [replace(column, title=_printable(column.title)) for column in layout.columns]
    notes = notes_of(rows, layout.columns)
    title = None if layout.title is None else _printable(layout.title)
    return Table(title, [_line(head) for head in heads], columns, rows, _lines(notes), _lines(told))


def _check_scores(layout: Layout, rows: list[TableRow]) -> None:
    """Every score is one that a run of the table has, that the paper has, or that this code knows."""
    there = {score for row in rows if row.experiment for run in row.experiment.runs for score in run.scores}
    there |= {score for row in rows if row.paper for score in row.paper.scores}
    for score in layout.scores:
        if score not in there and not is_known(score):
            raise ConfigError(f"no run has the score {score}; write one of {', '.join(sorted(there | KNOWN.keys()))}")


def _with_best(rows: list[TableRow], columns: list[Column]) -> list[TableRow]:
    for index, column in enumerate(columns):
        numbers = [row.cells[index].first for row in rows if row.cells]
        values = [one.value for one in numbers if one.status == FINISHED and one.value is not None]
        if column.paper or column.best is None or not values:
            continue
        best = min(values) if column.best == "lowest" else max(values)
        for number, row in enumerate(rows):
            if row.cells and row.cells[index].first.value == best:
                cells = list(row.cells)
                cells[index] = replace(cells[index], best=True)
                rows[number] = replace(row, cells=cells)
    return rows


def _printable(label: Label) -> Label:
    return replace(label, text=_line(label.text))


def _line(text: str) -> str:
    """Without what a terminal would take for a command: names and settings come from files of others."""
    return "".join(character if character.isprintable() else " " for character in text)


def _lines(texts: Sequence[str]) -> list[str]:
    return [_line(text) for text in dict.fromkeys(texts)]
