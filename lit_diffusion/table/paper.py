"""Papers' numbers: paper.yaml, as it is printed in their tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from lit_diffusion.errors import ConfigError

FILE = Path(__file__).parent / "paper.yaml"


@dataclass(frozen=True)
class Printed:
    """A number of a paper as text, so that it keeps its digits. value: None where training was unstable."""

    value: str | None
    std: str | None = None
    bound: bool = False


@dataclass(frozen=True)
class PaperRow:
    """The numbers of a row by score, its source, and what they depend on, by the names of our summaries."""

    scores: Mapping[str, Printed]
    source: str
    protocol: Mapping[str, str]


@cache
def paper_rows() -> dict[str, PaperRow]:
    """All rows by ID: paper/row."""
    papers = yaml.load(
        FILE.read_text(encoding="utf-8"), Loader=yaml.BaseLoader
    )  # all values as texts: 4.60 keeps its zero
    return {
        f"{paper}/{name}": PaperRow(
            {score: _printed(number) for score, number in row.items()}, content["source"], content["protocol"]
        )
        for paper, content in papers.items()
        for name, row in content["rows"].items()
    }


def _printed(number: str | dict[str, str]) -> Printed:
    if isinstance(number, str):
        return Printed(None)
    return Printed(number["value"], number.get("std"), number.get("bound") == "true")


def paper_row(name: str) -> PaperRow:
    """The row of that ID. Raises ConfigError where there is none."""
    rows = paper_rows()
    if name not in rows:
        raise ConfigError(f"there is no paper's row {name}; write one of {', '.join(rows)}")
    return rows[name]
