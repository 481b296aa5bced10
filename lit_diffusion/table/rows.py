"""The rows of a table: the experiments that match a layout's rows, and a paper's numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lit_diffusion.config.keys import last_part, shorten_keys
from lit_diffusion.config.relevance import ABSENT, CHECKPOINT, Settings, find_differences, matches
from lit_diffusion.errors import ConfigError
from lit_diffusion.table.default_layout import find_common_name
from lit_diffusion.table.experiment import Experiment, Number, group, make_printed_number, shorten_paths
from lit_diffusion.table.known_scores import PaperRow, get_paper_row
from lit_diffusion.table.layout import Automatic, Column, Heading, Label, Layout
from lit_diffusion.table.runs import Measurement, Run


@dataclass(frozen=True)
class TableCell:
    """A number, and perhaps a second one in brackets. best: among this code's numbers in its column."""

    first: Number
    second: Number = Number()
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """name: what notes call the row. experiment: its runs, if any. A heading has one label and no cells."""

    labels: list[Label]
    name: str
    cells: list[TableCell]
    experiment: Experiment | None = None
    paper: PaperRow | None = None

    @property
    def is_heading(self) -> bool:
        """Whether this is a line above a group of rows."""
        return not self.cells

    def measured(self, score: str) -> list[Measurement]:
        """The measurements by this code behind a number."""
        return self.experiment.measured(score) if self.experiment else []


def matches_any(layout: Layout, runs: Sequence[Run]) -> bool:
    """Whether some run matches some row."""
    return any(
        matches(run.settings, where) and _has_row_key(layout, run.settings)
        for run in runs
        if run.settings is not None
        for where in layout.wheres
    )


def _has_row_key(layout: Layout, settings: Settings) -> bool:
    return not isinstance(layout.rows, Automatic) or any(key.key in settings for key in layout.rows.by)


class RowMaker:
    """Makes the rows of a layout. Once they are made, `unmatched` are the experiments in no row, and `row_keys` the
    settings that distinguish rows.
    """

    def __init__(self, layout: Layout, experiments: list[Experiment]):
        self.layout, self.experiments = layout, experiments
        self.unmatched = list(experiments)
        self.row_keys: list[str] = []
        self._shared: list[tuple[tuple[str, ...], tuple[str, int]]] = []  # keys that differ; a row, its experiments
        rows = layout.rows
        self.heads = [layout.head]
        if isinstance(rows, Automatic):
            self.heads = [*["run"] * rows.named, *(key.title for key in rows.by if key.shown)]

    def make_rows(self) -> Iterator[TableRow]:
        """All rows, in order. Raises ConfigError if no run has a setting that makes automatic rows."""
        if isinstance(self.layout.rows, Automatic):
            yield from self._make_automatic(self.layout.rows)
            return
        above = ""
        for row in self.layout.rows:
            if isinstance(row, Heading):
                above = f"{row.label.text}, "
                yield TableRow([row.label], row.label.text, [])
                continue
            self.row_keys += row.where or ()
            paper = get_paper_row(row.paper) if row.paper else None
            name = above + row.label.text
            if row.where is None:
                yield self._make_row([row.label, Label("")], name, None, paper, "")
            else:
                found = [one for one in self.experiments if matches(one.settings, row.where)]
                yield from self._split([row.label], name, found, paper, row.without)

    def _make_automatic(self, rows: Automatic) -> Iterator[TableRow]:
        keys = [key.key for key in rows.by]
        self.row_keys += keys
        found = [
            one
            for one in self.experiments
            if matches(one.settings, rows.where) and _has_row_key(self.layout, one.settings)
        ]
        if not found:
            raise ConfigError(f"no run has any of the settings {', '.join(keys)}, which make the rows; choose others")
        values = {id(one): [one.settings.get(key, ABSENT) for key in keys] for one in found}
        found.sort(key=lambda one: [sort_key(value) for value in values[id(one)]])
        names = name_experiments(found) if rows.named else {}
        for same in group((repr(values[id(one)]), one) for one in found).values():
            shown = [pair for pair in zip(rows.by, values[id(same[0])]) if pair[0].shown]
            texts = [key.names.get(get_name_key(value), format_setting(value)) for key, value in shown]
            own = [names[id(same[0])]] if rows.named else []
            full = own[0] if own else ", ".join(filter(None, texts))
            yield from self._split([Label(text) for text in (*own, *texts)], full, same, None)

    def _split(
        self,
        labels: list[Label],
        name: str,
        found: list[Experiment],
        paper: PaperRow | None,
        without: Sequence[str] = (),
    ) -> Iterator[TableRow]:
        """A row for each experiment with a last label that says how it differs; without any, a row of `missing`."""
        if len(found) < 2:
            one = found[0] if found else None
            self.unmatched = [other for other in self.unmatched if other is not one]
            yield self._make_row([*labels, Label("")], name, one, paper, "" if found else "missing", without)
            return
        self.unmatched = [one for one in self.unmatched if one not in found]
        keys = find_differences([one.settings for one in found])
        marks = list(dict.fromkeys(mark for one in found for mark in one.marks))
        names = shorten_keys(keys) | {mark: mark for mark in marks}
        keys += marks
        self.row_keys += keys
        self._shared.append((tuple(keys), (name, len(found))))

        def get_values(one: Experiment) -> list[tuple[str, Any]]:
            values = {**one.settings, CHECKPOINT: ABSENT, **one.marks}
            return [(key, values.get(key, ABSENT)) for key in keys]

        for one in sorted(found, key=lambda one: [sort_key(value) for _, value in get_values(one)]):
            parts = [f"{names[key]} = {format_setting(value)}" for key, value in get_values(one) if value is not ABSENT]
            differs = ", ".join(parts)
            full = f"{name} ({differs})" if differs else name
            yield self._make_row([*labels, Label(differs)], full, one, paper, "", without)

    def warn_of_shared_rows(self) -> Iterator[str]:
        """A warning for each way in which the experiments of one row differ."""
        for keys, rows in group(self._shared).items():
            name, count = rows[0]
            where = f"{name}: {count}" if len(rows) == 1 else f"{name} and {count_rows(len(rows) - 1)}: several"
            each = "this row" if len(rows) == 1 else "one row"
            yield f"{where} different experiments match {each} and are not averaged; they differ in {', '.join(keys)}"

    def _make_row(
        self,
        labels: list[Label],
        name: str,
        one: Experiment | None,
        paper: PaperRow | None,
        status: str,
        without: Sequence[str] = (),
    ) -> TableRow:
        def make_number(column: Column, score: str | None) -> Number:
            if score is None or (score in without and not column.paper):
                return Number()
            if column.paper:
                return make_printed_number(paper.scores.get(score) if paper else None)
            prefix = column.prefix if score == column.score else ""  # ≤ only before the first of two numbers
            number = one.number(score, column.digits, prefix, column.fixed) if one else Number(status)
            return number if column.spread else replace(number, std_text="")

        cells = [
            TableCell(make_number(column, column.score), make_number(column, column.second))
            for column in self.layout.columns
        ]
        return TableRow(labels, name, cells, one, paper)


def count_rows(count: int) -> str:
    """`1 more row`, `2 more rows`."""
    return f"{count} more row{'s' * (count != 1)}"


def name_experiments(found: Sequence[Experiment]) -> dict[int, str]:
    """By id of an experiment, the name that the folders of its runs share, or their path if others have the same."""
    names = {id(one): find_common_name(one.runs) for one in found}
    paths = shorten_paths(one.runs[0].name for one in found)
    shared = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {id(one): paths[one.runs[0].name] if names[id(one)] in shared else names[id(one)] for one in found}


def get_name_key(value: Any) -> str:
    """A value as a layout's `names` has it."""
    return "null" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def format_setting(value: Any) -> str:
    """A setting as a table shows it, in words, names of classes and numbers; empty if absent."""
    if value is ABSENT:
        return ""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(format_setting, value))
    if isinstance(value, dict):
        if "class_path" in value:
            return last_part(str(value["class_path"]))
        return ", ".join(f"{key} {format_setting(one)}" for key, one in value.items())
    return str(value)


def sort_key(value: Any) -> tuple[int, float, str]:
    """Orders settings: absent ones, numbers, texts, null."""
    if value is ABSENT:
        return 0, 0, ""
    if isinstance(value, int | float):
        return 1, value, ""
    return (3, 0, "") if value is None else (2, 0, str(value))
