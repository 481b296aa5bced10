"""`lit-diffusion table RUNS`: the scores of many runs as a table, beside a paper's numbers if its layout says so."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.table.default_layout import default_layout
from lit_diffusion.table.encoding import always_printable
from lit_diffusion.table.latex import latex
from lit_diffusion.table.layout_file import read_layout, shipped_layouts
from lit_diffusion.table.model import Table
from lit_diffusion.table.render import comma_separated, markdown, plain, terminal
from lit_diffusion.table.rows import matches_any
from lit_diffusion.table.runs import find_runs
from lit_diffusion.table.table import build
from lit_diffusion.table.wandb_runs import fetch_runs

FORMATS = {"terminal": plain, "markdown": markdown, "latex": latex, "csv": comma_separated}
SUFFIXES = {".txt": "terminal", ".md": "markdown", ".tex": "latex", ".csv": "csv"}


def main(arguments: list[str]) -> None:
    """Prints or writes the table, and its warnings on stderr. Raises ConfigError for a user's mistake."""
    options = parser().parse_intermixed_args(arguments)
    if bool(options.runs) == bool(options.wandb):
        what = "both folders and --wandb are" if options.runs else "neither folders nor --wandb are"
        raise ConfigError(f"{what} given; write folders of runs, or --wandb entity/project")
    out = checked_out(Path(options.out)) if options.out else None
    name = format_of(options)
    layout = read_layout(options.layout) if options.layout else None
    warnings: list[str] = []
    warn = warnings.append
    runs = fetch_runs(options.wandb, warn) if options.wandb else find_runs(options.runs, warn)
    table = build(layout or default_layout(runs), runs, warnings)
    if out is None:
        display(table, name)
        return
    try:
        with written_whole(out) as temporary:
            temporary.write_text(FORMATS[name](table), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written ({error.strerror}); write another") from error
    with always_printable():
        print(f"{out}: {sum(not row.is_heading for row in table.rows)} rows, {name}")
        say(table.warnings)


def show(folders: list[str], layout_name: str | None) -> None:
    """Prints the runs in folders as `main` does, in the shipped layout of that name if there is one and some run stands
    in it, else by what the runs differ in. Raises ConfigError where no run can be read.
    """
    warnings: list[str] = []
    runs = find_runs(folders, warnings.append)
    layout = read_layout(layout_name) if layout_name in shipped_layouts() else None
    if layout is not None and not matches_any(layout, runs):
        warnings.append(f"no run stands in the layout {layout_name}; the rows are what the runs differ in")
        layout = None
    display(build(layout or default_layout(runs), runs, warnings), "terminal")


def display(table: Table, name: str) -> None:
    """Prints the table, and its warnings on stderr where they do not stand below it already."""
    with always_printable():
        if name == "terminal" and sys.stdout.isatty():
            terminal(table, Console(highlight=False))
        else:
            print(FORMATS[name](table), end="")
        if name == "csv" or not (sys.stdout.isatty() and sys.stderr.isatty()):
            say(table.warnings)


def say(warnings: list[str]) -> None:
    """On stderr."""
    for warning in warnings:
        print(one_line(f"warning: {warning}"), file=sys.stderr)


def parser() -> Parser:
    """The options of the command."""
    result = Parser(prog="lit-diffusion table", description=__doc__)
    result.add_argument("runs", metavar="RUNS", nargs="*", help="folders of runs, or folders that hold such")
    result.add_argument("--wandb", metavar="ENTITY/PROJECT", help="the runs of a project on a W&B server instead")
    result.add_argument(
        "--layout",
        help=f"{', '.join(shipped_layouts())}, or a YAML file (default: a row for each setting that differs)",
    )
    result.add_argument("--format", choices=[*FORMATS], help="default: that of --out's suffix, or terminal")
    result.add_argument("--out", metavar="FILE", help="write there: .txt, .md, .tex or .csv")
    return result


def format_of(options: argparse.Namespace) -> str:
    """The one that is asked for, or that of the file's suffix."""
    if options.format or not options.out:
        return options.format or "terminal"
    suffix = Path(options.out).suffix
    if suffix not in SUFFIXES:
        raise ConfigError(f"--out: {options.out} names no format; end it in {', '.join(SUFFIXES)}, or write --format")
    return SUFFIXES[suffix]


def checked_out(path: Path) -> Path:
    """A file that can be written. Raises ConfigError for a folder, or one in a folder that does not exist."""
    if path.is_dir():
        raise ConfigError(f"--out: {path} is a folder; write a file in it, as {path / 'table.md'}")
    if not path.parent.is_dir():
        raise ConfigError(f"--out: there is no folder {path.parent}; make it, or write another")
    return path
