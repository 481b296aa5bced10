"""Layouts: which rows and columns a table has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lit_diffusion.table.known_scores import describe_score


@dataclass(frozen=True)
class Label:
    """A text of a table. latex: the same in LaTeX; None for the text with its special characters escaped."""

    text: str
    latex: str | None = None


@dataclass(frozen=True)
class Column:
    """A column of numbers, of this code's runs or of a paper.

    second: a score in brackets behind the first. best: lowest or highest is bold, or None. digits: after the point, of
    this code's numbers; a paper's have their own. spread: whether ± is shown. fixed: whether large numbers, too, have
    all their digits. optional: omitted if the terminal is too narrow.
    """

    score: str
    title: Label
    second: str | None = None
    best: str | None = None
    digits: int = 3
    spread: bool = True
    prefix: str = ""
    paper: bool = False
    fixed: bool = True
    optional: bool = False

    @property
    def scores(self) -> list[str]:
        """The scores that the column shows, one or two."""
        return [self.score, *([self.second] if self.second else [])]


def make_column(score: str, title: Label | None = None, paper: bool = False, **options: Any) -> Column:
    """A column of a score, with the usual title, digits and direction unless `options` contain others."""
    usual = describe_score(score)
    title = title or Label(f"{usual.title}, paper" if paper else usual.title)
    fixed = usual.fixed or "digits" in options
    rest: dict[str, Any] = {"best": usual.best, "digits": usual.digits, "prefix": usual.prefix, **options}
    return Column(score, title, paper=paper, fixed=fixed, **rest)


@dataclass(frozen=True)
class Heading:
    """A line above a group of rows."""

    label: Label


@dataclass(frozen=True)
class Row:
    """A row that the layout spells out. where: the settings of its runs; None for a paper's row without runs.
    paper: the ID of a row in paper.yaml, or None. without: scores that such models cannot have, whose cells are blank.
    """

    label: Label
    where: Mapping[str, Any] | None = None
    paper: str | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """A setting whose values make the rows. names: what is shown instead of some values, by their text. shown: whether
    it has a column; otherwise a note below the table says how the rows differ in it.
    """

    key: str
    title: str
    names: Mapping[str, str] = field(default_factory=dict)
    shown: bool = True


@dataclass(frozen=True)
class Automatic:
    """One row for each combination of settings among the runs that match `where`. named: whether the rows begin with
    the names of their runs; the columns of settings may then be omitted in a terminal that is too narrow.
    """

    by: list[Key]
    where: Mapping[str, Any] = field(default_factory=dict)
    named: bool = False


@dataclass(frozen=True)
class Layout:
    """The plan of a table. head: title of the column of labels. compare: whether the rows are meant to be compared,
    with warnings if they were trained or measured differently.
    """

    columns: list[Column]
    rows: list[Heading | Row] | Automatic
    title: Label | None = None
    head: str = ""
    compare: bool = True

    @property
    def scores(self) -> list[str]:
        """All scores of all columns."""
        return list(dict.fromkeys(score for column in self.columns for score in column.scores))

    @property
    def wheres(self) -> list[Mapping[str, Any]]:
        """The settings that select runs: one mapping for each row that has runs, or one for automatic rows."""
        if isinstance(self.rows, Automatic):
            return [self.rows.where]
        return [row.where for row in self.rows if isinstance(row, Row) and row.where is not None]
