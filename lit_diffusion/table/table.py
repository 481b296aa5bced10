"""A finished table, made of a layout and runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.table.comparability import (
    list_differences,
    list_hidden_differences,
    warn_of_disagreements,
    warn_of_steps,
    warn_of_training,
    warn_of_typos,
)
from lit_diffusion.table.experiment import FINISHED, find_experiments
from lit_diffusion.table.known_scores import KNOWN, is_known
from lit_diffusion.table.layout import Automatic, Column, Label, Layout
from lit_diffusion.table.notes import make_notes
from lit_diffusion.table.rows import RowMaker, TableRow
from lit_diffusion.table.runs import Run


@dataclass(frozen=True)
class Table:
    """heads: titles of the columns of labels. optional: what a narrow terminal says below the table for each of those
    after the first that it omits. notes, warnings: the lines below the table.
    """

    title: Label | None
    heads: list[str]
    columns: list[Column]
    rows: list[TableRow]
    notes: list[str]
    warnings: list[str]
    optional: Sequence[str] = ()


def make_table(layout: Layout, runs: Sequence[Run], warnings: Sequence[str] = ()) -> Table:
    """The table, its texts on single lines without control characters. warnings: those of finding the runs.

    Raises ConfigError if a column's score is neither known nor that of any run.
    """
    warnings = list(warnings)
    scores = list(dict.fromkeys(score for column in layout.columns if not column.paper for score in column.scores))
    experiments = find_experiments(runs, scores, warnings.append)
    maker = RowMaker(layout, experiments)
    rows, heads = list(maker.make_rows()), maker.heads
    shown: list[str] = []
    if isinstance(layout.rows, Automatic) and layout.rows.named:
        shown = [key.key for key in layout.rows.by if key.shown]
    _check_scores(layout, rows)
    if maker.unmatched:
        names = [one.runs[0].name for one in maker.unmatched]
        listed = ", ".join([*names[:3], *(["..."] if names[3:] else [])])
        warnings.append(f"{len(names)} of {len(experiments)} experiments match no row of this table: {listed}")
    if any(row.labels[-1].text for row in rows if len(row.labels) > len(heads)):
        heads = [*heads, "differs in"]
    rows = [replace(row, labels=[_on_one_line(label) for label in row.labels[: len(heads)]]) for row in rows]
    warnings += [*maker.warn_of_shared_rows(), *warn_of_typos(layout, runs)]
    if layout.compare:
        trained, keys = warn_of_training(rows, scores, maker.row_keys)
        warnings += trained
        warnings += [*warn_of_disagreements(rows, scores, [*maker.row_keys, *keys]), *warn_of_steps(rows, scores)]
    return Table(
        _on_one_line(layout.title) if layout.title else None,
        [one_line(head) for head in heads],
        [replace(column, title=_on_one_line(column.title)) for column in layout.columns],
        _mark_best(rows, layout.columns),
        list(dict.fromkeys(map(one_line, [*list_hidden_differences(rows, layout), *make_notes(rows, layout.columns)]))),
        list(dict.fromkeys(map(one_line, warnings))),
        [one_line(line) for line in list_differences(rows, shown).values()],
    )


def _check_scores(layout: Layout, rows: list[TableRow]) -> None:
    measured = {
        score for row in rows if row.experiment for run in row.experiment.runs for score in (*run.scores, *run.facts)
    }
    measured |= {score for row in rows if row.paper for score in row.paper.scores}
    for score in layout.scores:
        if score not in measured and not is_known(score):
            raise ConfigError(f"no run has the score {score}; choose one of {', '.join(sorted(measured | {*KNOWN}))}")


def _mark_best(rows: list[TableRow], columns: list[Column]) -> list[TableRow]:
    """The rows with this code's best numbers of each column marked."""
    best: list[float | None] = []
    for index, column in enumerate(columns):
        numbers = [row.cells[index].first for row in rows if not row.is_heading]
        values = [one.value for one in numbers if one.status == FINISHED and one.value is not None]
        marks = not column.paper and column.best is not None and values
        best.append((min if column.best == "lowest" else max)(values) if marks else None)

    def mark(row: TableRow) -> TableRow:
        cells = [
            replace(cell, best=value is not None and cell.first.value == value) for cell, value in zip(row.cells, best)
        ]
        return replace(row, cells=cells)

    return [mark(row) for row in rows]


def _on_one_line(label: Label) -> Label:
    return replace(label, text=one_line(label.text))
