"""Findings for people: a table, and under it what to do, in lines that can be copied."""

import sys
from collections.abc import Iterator

from lit_diffusion.doctor.finding import OK, PROBLEM, WARNING, Finding

STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}


def show(sections: dict[str, list[Finding]]) -> None:
    """Prints them: with rich in a terminal, else in plain lines, and so too where rich is what is missing."""
    findings = [one for section in sections.values() for one in section]
    width = max((len(one.subject) for one in findings), default=0)
    try:
        table(sections, width) if sys.stdout.isatty() else plain(sections, width)
    except ImportError:
        plain(sections, width)
    for one in sorted(findings, key=lambda one: one.level != PROBLEM):
        if one.level != OK:
            print(f"\n{one.level}: {one.subject}: {one.text}\n  {one.repair}")
    print(f"\n{', '.join(counts(findings)) or 'all is well'}")


def table(sections: dict[str, list[Finding]], width: int) -> None:
    """In colour, wrapped to the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for column in (len(WARNING), width):
        grid.add_column(min_width=column, no_wrap=True)
    grid.add_column(overflow="fold")
    for findings in filter(None, sections.values()):
        if grid.rows:
            grid.add_row()
        for one in findings:
            grid.add_row(Text(one.level, STYLES[one.level]), Text(one.subject), Text(one.text))
    Console(highlight=False).print(grid)


def plain(sections: dict[str, list[Finding]], width: int) -> None:
    """A line a finding, however long."""
    for number, findings in enumerate(filter(None, sections.values())):
        if number:
            print()
        for one in findings:
            print(f"{one.level:<{len(WARNING)}}  {one.subject:<{width}}  {one.text}")


def counts(findings: list[Finding]) -> Iterator[str]:
    """How many problems and warnings there are, as `2 problems`."""
    for level in (PROBLEM, WARNING):
        if count := sum(one.level == level for one in findings):
            yield f"{count} {level}{'s' * (count != 1)}"
