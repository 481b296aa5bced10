"""Tables of scores as a page shows them: cells with what they sort by, and the protocols behind each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lit_diffusion.report.grouping import RunGroup
from lit_diffusion.table.experiment import FINISHED, Number, count_digits, format_number, get_state
from lit_diffusion.table.formats import Symbols, format_cell
from lit_diffusion.table.known_scores import describe_score
from lit_diffusion.table.rows import TableCell, TableRow, format_setting
from lit_diffusion.table.table import Table


@dataclass(frozen=True)
class CellView:
    """number, spread, second: parts of the text. state: `finished`, what stands in place of a number, or nothing.
    sort: the value to sort by. paper: whether it is a paper's number.
    """

    number: str
    spread: str
    second: str
    state: str
    sort: float | None
    best: bool
    paper: bool


@dataclass(frozen=True)
class RowView:
    """above: the heading that the row is below. group: its line in the legend. protocol: number of its protocols."""

    labels: list[str]
    name: str
    is_heading: bool
    above: str
    cells: list[CellView]
    group: RunGroup | None
    protocol: int | None


@dataclass(frozen=True)
class TableView:
    """titles: of the columns of labels, and of numbers."""

    title: str
    heads: list[str]
    titles: list[str]
    rows: list[RowView]
    notes: list[str]
    warnings: list[str]


def view_table(table: Table, groups: Sequence[RunGroup], runs: Sequence[str], protocols: list[Any]) -> TableView:
    """A table for the page. runs: names by number. protocols: receives those of each row."""
    numbers = {name: number for number, name in enumerate(runs)}
    of_run = {run: group for group in groups for run in group.runs}
    scores = list(dict.fromkeys(score for column in table.columns if not column.paper for score in column.scores))
    papers = [column.paper for column in table.columns]
    several = sum(row.experiment is not None for row in table.rows) > 1  # else all are the best
    rows, above = [], ""
    for row in table.rows:
        above = row.labels[0].text if row.is_heading else above
        members = [numbers[run.name] for run in row.experiment.runs if run.name in numbers] if row.experiment else []
        protocol = None
        if found := _describe_protocols(row, scores):
            protocol = len(protocols)
            protocols.append(found)
        labels = [label.text for label in row.labels]
        cells = [_view_cell(cell, paper, several) for cell, paper in zip(row.cells, papers)]
        group = of_run[members[0]] if members else None
        rows.append(RowView(labels, row.name, row.is_heading, above, cells, group, protocol))
    titles = [column.title.text for column in table.columns]
    title = table.title.text if table.title else "Scores"
    return TableView(title, table.heads, titles, rows, table.notes, table.warnings)


def _view_cell(cell: TableCell, paper: bool, several: bool) -> CellView:
    first, state = cell.first, cell.first.status
    if state != FINISHED and cell.second.status == FINISHED:
        return CellView(format_cell(cell), "", "", FINISHED, None, False, paper)
    if state != FINISHED:
        return CellView("—" if state == "diverged" else state, "", "", state, None, False, paper)
    second = f"({_join(cell.second)})" if cell.second.status else ""
    spread = f"±{first.std_text}" if first.std_text else ""
    return CellView(f"{first.prefix}{first.text}", spread, second, state, first.value, cell.best and several, paper)


def _join(number: Number) -> str:
    return format_cell(TableCell(number), Symbols())


def _describe_protocols(row: TableRow, scores: Sequence[str]) -> dict[str, Any] | None:
    """Of a row, what was measured in each run, and how: first what all scores share, then what each adds."""
    if row.experiment is None:
        return None
    measured = {score: row.measured(score) for score in scores if row.measured(score)}
    fields = {
        score: {
            name: ", ".join(dict.fromkeys(format_setting(one.protocol.get(name, "not given")) for one in found))
            for name in dict.fromkeys(name for one in found for name in one.protocol)
        }
        for score, found in measured.items()
    }
    with_fields = [one for one in fields.values() if one]
    common = {
        name: value
        for name, value in (with_fields[0] if with_fields else {}).items()
        if len(with_fields) > 1 and all(one.get(name) == value for one in with_fields)
    }
    parts = [
        {
            "title": describe_score(score).title,
            "numbers": [_describe_run(row, score, number) for number in range(len(row.experiment.runs))],
            "fields": [[name, value] for name, value in fields[score].items() if name not in common],
        }
        for score in measured
    ]
    return {"name": row.name, "common": list(map(list, common.items())), "scores": parts} if parts else None


def _describe_run(row: TableRow, score: str, number: int) -> list[str]:
    """The seed, and the value of a run with its spread."""
    assert row.experiment
    run = row.experiment.runs[number]
    name = "" if run.seed is None else f"seed {run.seed}"
    measured, state = run.measured(score), get_state(run, score)
    if state != FINISHED or measured is None or measured.value is None:
        return [name, state]
    shown = describe_score(score)
    digits = shown.digits + 2 if shown.digits else 0  # a fact without digits is a whole number
    if not shown.fixed:
        digits = min(digits, count_digits(max(abs(measured.value), measured.std or 0.0)) + 2)
    spread = "" if measured.std is None else f" ± {format_number(measured.std, digits)}"
    return [name, f"{format_number(measured.value, digits)}{spread}"]
