"""A table: labels and numbers in rows, and what stands below."""

from dataclasses import dataclass

from lit_diffusion.table.experiment import Experiment, Number
from lit_diffusion.table.layout import Column, Label
from lit_diffusion.table.paper import PaperRow
from lit_diffusion.table.runs import Score


@dataclass(frozen=True)
class Cell:
    """A number, perhaps with a second one in brackets. best: of this code's numbers in its column."""

    first: Number
    second: Number = Number()
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """labels, then cells. name: what notes call it. experiment: its runs, None where there are none or in headings."""

    labels: list[Label]
    name: str
    cells: list[Cell]
    experiment: Experiment | None = None
    paper: PaperRow | None = None

    @property
    def is_heading(self) -> bool:
        """A line above a group of rows."""
        return not self.cells

    def measured(self, score: str) -> list[Score]:
        """The values of this code behind a number."""
        return self.experiment.scores(score) if self.experiment else []


@dataclass(frozen=True)
class Table:
    """heads: titles of the columns of labels. notes and warnings stand below."""

    title: Label | None
    heads: list[str]
    columns: list[Column]
    rows: list[TableRow]
    notes: list[str]
    warnings: list[str]
