"""The rows of a layout, filled with experiments and the paper's numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lit_diffusion.config.keys import shorten_keys
from lit_diffusion.config.relevance import ABSENT, CHECKPOINT, Settings, find_differences, matches
from lit_diffusion.errors import ConfigError
from lit_diffusion.table.experiment import Experiment, Number, printed_number
from lit_diffusion.table.layout import Automatic, Column, Heading, Label, Layout, Row
from lit_diffusion.table.model import Cell, TableRow
from lit_diffusion.table.paper import PaperRow, paper_row
from lit_diffusion.table.phrases import more_rows
from lit_diffusion.table.runs import Run
from lit_diffusion.table.scores import BOUND


def matches_any(layout: Layout, runs: Sequence[Run]) -> bool:
    """Whether some run stands in some row."""
    return any(_taken(layout, run.settings) for run in runs if run.settings is not None)


def _taken(layout: Layout, settings: Settings) -> bool:
    rows = layout.rows
    if isinstance(rows, Automatic):
        return matches(settings, rows.where) and any(key.key in settings for key in rows.by)
    return any(matches(settings, row.where) for row in rows if isinstance(row, Row) and row.where is not None)


class Rows:
    """The rows of a layout. unmatched: experiments that are in none; row_keys: settings that tell rows apart."""

    def __init__(self, layout: Layout, experiments: list[Experiment]):
        self.layout, self.experiments = layout, experiments
        self._shared: dict[tuple[str, ...], list[tuple[str, int]]] = {}  # by what differs: rows, how many in each
        self.unmatched = list(experiments)
        self.row_keys: list[str] = []
        rows = layout.rows
        self.heads = [key.title for key in rows.by] if isinstance(rows, Automatic) else [layout.head]

    def rows(self) -> Iterator[TableRow]:
        """In order."""
        if isinstance(self.layout.rows, Automatic):
            yield from self._automatic(self.layout.rows)
            return
        group = ""
        for spec in self.layout.rows:
            if isinstance(spec, Heading):
                group = f"{spec.label.text}, "
                yield TableRow([spec.label], spec.label.text, [])
                continue
            self.row_keys += spec.where or ()
            paper = paper_row(spec.paper) if spec.paper else None
            found = None if spec.where is None else [e for e in self.experiments if matches(e.settings, spec.where)]
            yield from self._split([spec.label], group + spec.label.text, found, paper)

    def _automatic(self, rows: Automatic) -> Iterator[TableRow]:
        keys = [key.key for key in rows.by]
        self.row_keys += keys
        groups: dict[str, list[Experiment]] = {}
        for one in self.experiments:
            if matches(one.settings, rows.where) and any(key in one.settings for key in keys):
                groups.setdefault(repr([one.settings.get(key, ABSENT) for key in keys]), []).append(one)
        settings = {text: [same[0].settings.get(key, ABSENT) for key in keys] for text, same in groups.items()}
        for text in sorted(groups, key=lambda text: [sort_key(value) for value in settings[text]]):
            texts = [
                key.names.get(format_setting(value), format_setting(value))
                for key, value in zip(rows.by, settings[text])
            ]
            yield from self._split([Label(text) for text in texts], ", ".join(filter(None, texts)), groups[text], None)
        if not groups:
            raise ConfigError(f"no run has one of the settings {', '.join(keys)}, which make the rows; write others")

    def _split(
        self, labels: list[Label], name: str, found: list[Experiment] | None, paper: PaperRow | None
    ) -> Iterator[TableRow]:
        """A row for each experiment; one without numbers of ours where there is none."""
        if not found:
            yield self._row([*labels, Label("")], name, None, paper, "" if found is None else "missing")
            return
        self.unmatched = [one for one in self.unmatched if one not in found]
        keys = find_differences([one.settings for one in found])
        marks = list(dict.fromkeys(mark for one in found for mark in one.marks)) if len(found) > 1 else []
        names = shorten_keys(keys) | {mark: mark for mark in marks}
        keys += marks
        told = {id(one): {**one.settings, CHECKPOINT: ABSENT, **one.marks} for one in found}
        if len(found) > 1:
            self.row_keys += keys
            self._shared.setdefault(tuple(keys), []).append((name, len(found)))
        for one in sorted(found, key=lambda one: [sort_key(told[id(one)].get(key, ABSENT)) for key in keys]):
            own = [(key, told[id(one)].get(key, ABSENT)) for key in keys]
            differs = ", ".join(f"{names[key]} = {format_setting(value)}" for key, value in own if value is not ABSENT)
            full = f"{name} ({differs})" if differs else name
            yield self._row([*labels, Label(differs)], full, one, paper, "")

    def shared(self) -> Iterator[str]:
        """A warning for the rows that several experiments match: one for each way in which they differ."""
        for keys, rows in self._shared.items():
            name, count = rows[0]
            where = f"{name}: {count}" if len(rows) == 1 else f"{name} and {more_rows(len(rows) - 1)}: several"
            each = "this row" if len(rows) == 1 else "one row"
            yield f"{where} different experiments match {each} and are not averaged; they differ in {', '.join(keys)}"

    def _row(
        self, labels: list[Label], name: str, one: Experiment | None, paper: PaperRow | None, status: str
    ) -> TableRow:
        def number(column: Column, score: str | None) -> Number:
            if score is None:
                return Number()
            if column.paper:
                return printed_number(paper.scores.get(score) if paper else None, BOUND)
            # the bound's sign stands once, before the first of two
            prefix = column.prefix if score == column.score else ""
            result = one.number(score, column.digits, prefix, column.fixed) if one else Number(status)
            return result if column.spread else replace(result, std_text="")

        cells = [Cell(number(column, column.score), number(column, column.second)) for column in self.layout.columns]
        return TableRow(labels, name, cells, one, paper)


def format_setting(value: Any) -> str:
    """A setting as a table shows it; empty if absent."""
    if value is ABSENT:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value)


def sort_key(value: Any) -> tuple[int, float, str]:
    """Orders settings: absent ones, numbers, texts, null."""
    if value is ABSENT:
        return 0, 0, ""
    if isinstance(value, int | float):
        return 1, value, ""
    return (3, 0, "") if value is None else (2, 0, str(value))
