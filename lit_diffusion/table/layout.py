"""Layouts: which rows and columns a table has. They are data, in YAML files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lit_diffusion.table.scores import known


@dataclass(frozen=True)
class Label:
    """A text of a table. latex: the same in LaTeX; null is the text with its special characters escaped."""

    text: str
    latex: str | None = None


@dataclass(frozen=True)
class Column:
    """A column of numbers: of this code's runs, or of the paper.

    second: a score in brackets behind the first. best: lowest or highest is set in bold, or None. digits: after the
    point, of this code's numbers; the paper's have their own. spread: whether ± stands behind numbers.
    fixed: whether a number has all its digits, however large. optional: left out of a terminal that is too narrow.
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
        """The scores that the column shows."""
        return [self.score, *([self.second] if self.second else [])]


def column_of(score: str, title: Label | None = None, paper: bool = False, **options: Any) -> Column:
    """A column of a score with what is known of it, where `options` do not say it."""
    one = known(score)
    default = Label(f"{one.title}, paper" if paper else one.title)
    fixed = one.fixed or "digits" in options
    rest: dict[str, Any] = {"best": one.best, "digits": one.digits, "prefix": one.prefix, **options}
    return Column(score, title or default, paper=paper, fixed=fixed, **rest)


@dataclass(frozen=True)
class Heading:
    """A line above a group of rows."""

    label: Label


@dataclass(frozen=True)
class Row:
    """A row by hand. where: the settings that its runs have, or None in a row of the paper alone. paper: ID of its row
    in paper.yaml, or None.
    """

    label: Label
    where: Mapping[str, Any] | None = None
    paper: str | None = None


@dataclass(frozen=True)
class Key:
    """A setting whose values make the rows. names: what to show in place of some values, by their text."""

    key: str
    title: str
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Automatic:
    """One row for each combination of settings that the runs have, of those runs that match `where`."""

    by: list[Key]
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A table to be: rows by hand or automatic. head: title of the first column, above the labels of rows by hand.
    compare: whether rows are meant to be compared, which warns where they were trained or measured differently.
    """

    columns: list[Column]
    rows: list[Heading | Row] | Automatic
    title: Label | None = None
    head: str = ""
    compare: bool = True

    @property
    def scores(self) -> list[str]:
        """All scores that some column shows."""
        return list(dict.fromkeys(score for column in self.columns for score in column.scores))
