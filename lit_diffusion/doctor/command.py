"""`lit-diffusion doctor`: whether this machine can run lit_diffusion, and how to fix what it cannot."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from lit_diffusion import __version__
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.doctor import installation, machine, services, weights
from lit_diffusion.doctor.finding import OK, PROBLEM, WARNING, Finding, warning
from lit_diffusion.errors import first_words

Sections = dict[str, list[Finding]]
STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}


def main(arguments: list[str]) -> None:
    """Examines this machine and prints the findings. Exits with status 1 if there is a problem."""
    options = make_parser().parse_args(arguments)
    os.environ.setdefault("WANDB_SILENT", "true")  # wandb reads it once, when it is imported
    with redirect_stdout(sys.stderr):  # what imported packages print is not part of the report
        sections = examine_all(Path(options.run_dir))
    verdict = worst_level(one for findings in sections.values() for one in findings)
    if options.json:
        found = {name: [one.as_dict() for one in findings] for name, findings in sections.items()}
        print(json.dumps({"version": __version__, "status": verdict, "findings": found}, indent=2, allow_nan=False))
    else:
        show(sections)
    if verdict == PROBLEM:
        sys.exit(1)


def make_parser() -> Parser:
    """The command's options."""
    result = Parser(
        prog="lit-diffusion doctor",
        description=__doc__,
        epilog="Exit status: 1 if a problem prevents work, else 0; warnings do not change it. Lightning is never "
        "imported, and nothing is downloaded or changed.",
    )
    result.add_argument("--json", action="store_true", help="print the findings as JSON")
    result.add_argument(
        "--run.dir", dest="run_dir", metavar="DIR", default="runs", help="folder of the runs (default: %(default)s)"
    )
    return result


def examine_all(run_dir: Path) -> Sections:
    """All findings by section. If a malicious package is installed, nothing installed is imported."""
    sections: dict[str, Callable[[], Iterable[Finding]]] = {
        "packages": installation.examine_packages,
        "command": installation.examine_command,
        "machine": machine.examine_machine,
        "devices": machine.examine_devices,
        "folders": partial(machine.examine_folders, run_dir),
        "weights": weights.examine_weights,
        "W&B": services.examine_wandb,
        "SLURM": services.examine_slurm,
    }
    if installation.find_malicious():
        for name in ("devices", "weights", "W&B"):
            skipped = warning(name, "not examined because a malicious package is installed", "remove that first")
            sections[name] = partial(list, [skipped])
    return {name: list(examine(name, section)) for name, section in sections.items()}


def examine(name: str, section: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a section. A section that fails becomes a warning, so that the others are still reported."""
    try:
        yield from section()
    except Exception as error:  # this command is for machines on which anything may be broken
        repair = "install the package that is missing or incompatible; if none is named, report a bug in lit_diffusion"
        yield warning(name, f"could not be examined ({first_words(error)})", repair)


def worst_level(findings: Iterable[Finding]) -> str:
    """The most severe level among the findings."""
    return max((one.level for one in findings), key=[OK, WARNING, PROBLEM].index, default=OK)


def show(sections: Sections) -> None:
    """Prints a table (with rich in a terminal, else as plain lines), then each repair on a line that can be copied."""
    findings = [one for section in sections.values() for one in section]
    width = max((len(one.subject) for one in findings), default=0)
    try:
        print_table(sections, width) if sys.stdout.isatty() else print_lines(sections, width)
    except ImportError:  # rich may be what is missing
        print_lines(sections, width)
    for one in sorted(findings, key=lambda one: one.level != PROBLEM):
        if one.level != OK:
            print(f"\n{one.level}: {one.subject}: {one.text}\n  {one.repair}")
    counts = {level: sum(one.level == level for one in findings) for level in (PROBLEM, WARNING)}
    totals = [f"{count} {level}{'s' * (count != 1)}" for level, count in counts.items() if count]
    print(f"\n{', '.join(totals) or 'no problems found'}")


def print_table(sections: Sections, width: int) -> None:
    """In colour, wrapped to the terminal. width: of the column of subjects, in characters."""
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


def print_lines(sections: Sections, width: int) -> None:
    """One line per finding, however long."""
    for number, findings in enumerate(filter(None, sections.values())):
        if number:
            print()
        for one in findings:
            print(f"{one.level:<{len(WARNING)}}  {one.subject:<{width}}  {one.text}")
