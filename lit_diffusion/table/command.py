"""`lit-diffusion table RUNS`: the scores of many runs as a table, next to a paper's numbers if its layout says so."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.table.default_layout import make_default_layout, split_runs
from lit_diffusion.table.formats import format_csv, format_latex, format_markdown
from lit_diffusion.table.layout import Layout
from lit_diffusion.table.layout_file import list_layouts, read_layout
from lit_diffusion.table.rows import matches_any
from lit_diffusion.table.runs import Run, fetch_runs, find_runs
from lit_diffusion.table.table import Table, make_table
from lit_diffusion.table.terminal import format_plain, print_table

FORMATS = {"terminal": format_plain, "markdown": format_markdown, "latex": format_latex, "csv": format_csv}
PLOTS = (".png", ".svg", ".pdf")
SUFFIXES = {".txt": "terminal", ".md": "markdown", ".tex": "latex", ".csv": "csv"}


def main(arguments: list[str]) -> None:
    """Prints or writes the table, with its warnings on stderr. Raises ConfigError for a user's mistake."""
    options = make_parser().parse_intermixed_args(arguments)
    if bool(options.runs) == bool(options.wandb):
        found = "both" if options.runs else "neither"
        raise ConfigError(f"expected folders of runs or --wandb entity/project, got {found}")
    if options.out:
        check_out(Path(options.out), "--out")
    if options.plot:
        check_out(Path(options.plot), "--plot")
        if Path(options.plot).suffix not in PLOTS:
            raise ConfigError(f"--plot: expected a file that ends in {', '.join(PLOTS)}, got {options.plot}; rename it")
    name = choose_format(options)
    layout = read_layout(options.layout) if options.layout else None
    warnings: list[str] = []
    warn = warnings.append
    runs = fetch_runs(options.wandb, warn) if options.wandb else find_runs(options.runs, warn)
    tables = make_tables(layout, runs, warnings, whole=name == "csv")
    if options.plot:
        from lit_diffusion.table.cost_plot import write_plot  # loads matplotlib

        print(f"{options.plot}: {write_plot(tables, Path(options.plot))}", file=sys.stderr)
    if not options.out:
        display(tables, name)
        return
    try:
        with written_whole(Path(options.out)) as temporary:
            temporary.write_text("\n".join(map(FORMATS[name], tables)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out: {options.out} cannot be written ({error.strerror}); choose another file") from error
    print(f"{options.out}: {sum(not row.is_heading for table in tables for row in table.rows)} rows, {name}")
    print_warnings([warning for table in tables for warning in table.warnings])


def make_tables(layout: Layout | None, runs: list[Run], warnings: list[str], whole: bool = False) -> list[Table]:
    """The table of a layout; without one, those of `split_runs`, or with `whole` one table with all settings."""
    if layout is not None or whole:
        return [make_table(layout or make_default_layout(runs, all_keys=True), runs, warnings)]
    made = [(make_default_layout(same, title=title), same) for title, same in split_runs(runs).items()]
    return [make_table(one, same, [] if number else warnings) for number, (one, same) in enumerate(made)]


def show(folders: list[str], layout_name: str | None) -> None:
    """Prints the table of the runs in folders, in the shipped layout of that name if a run matches one of its rows.

    Otherwise the rows are the settings that differ. Raises ConfigError if no run can be read.
    """
    warnings: list[str] = []
    runs = find_runs(folders, warnings.append)
    layout = read_layout(layout_name) if layout_name in list_layouts() else None
    if layout is not None and not matches_any(layout, runs):
        warnings.append(f"no run matches a row of the layout {layout_name}; the rows are the settings that differ")
        layout = None
    display(make_tables(layout, runs, warnings), "terminal")


def display(tables: list[Table], name: str) -> None:
    """Prints the tables, and their warnings on stderr unless they are visible below them."""
    for number, table in enumerate(tables):
        if number:
            print()
        if name == "terminal" and sys.stdout.isatty():
            print_table(table, Console(highlight=False))
        else:
            print(FORMATS[name](table), end="")
    if name == "csv" or not (sys.stdout.isatty() and sys.stderr.isatty()):
        print_warnings([warning for table in tables for warning in table.warnings])


def print_warnings(warnings: list[str]) -> None:
    """Prints a line on stderr for each."""
    for warning in warnings:
        print(one_line(f"warning: {warning}"), file=sys.stderr)


def make_parser() -> Parser:
    """The options of the command."""
    result = Parser(prog="lit-diffusion table", description=__doc__)
    result.add_argument("runs", metavar="RUNS", nargs="*", help="folders of runs, or folders that contain such")
    result.add_argument("--wandb", metavar="ENTITY/PROJECT", help="the runs of a project on a W&B server instead")
    result.add_argument(
        "--layout",
        help=f"{', '.join(list_layouts())}, or a YAML file (default: a row for each setting that differs)",
    )
    result.add_argument("--format", choices=[*FORMATS], help="default: that of the suffix of --out, or terminal")
    result.add_argument("--out", metavar="FILE", help="the file to write: .txt, .md, .tex or .csv")
    result.add_argument(
        "--plot",
        metavar="FILE",
        help="also plot FID against the evaluations of the network that a sample takes, with the ± of the table as "
        f"error bars: {', '.join(PLOTS)}",
    )
    return result


def choose_format(options: argparse.Namespace) -> str:
    """The format asked for, or that of the file's suffix."""
    if options.format or not options.out:
        return options.format or "terminal"
    suffix = Path(options.out).suffix
    if suffix not in SUFFIXES:
        raise ConfigError(f"--out: expected {', '.join(SUFFIXES)}, got {options.out}; rename it or set --format")
    return SUFFIXES[suffix]


def check_out(path: Path, option: str) -> None:
    """Raises ConfigError if a file cannot be written because it is a folder, or its folder does not exist."""
    if path.is_dir():
        raise ConfigError(f"{option}: expected a file, got the folder {path}; choose a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{option}: no folder {path.parent}; create it, or choose another file")
