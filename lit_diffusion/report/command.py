"""`lit-diffusion report RUNS`: runs as one HTML page with tables, curves and pictures, which needs no network."""

import time
import webbrowser
from pathlib import Path

from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.errors import ConfigError
from lit_diffusion.report.page import make_page
from lit_diffusion.runs import summary
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.runs.notice import notice
from lit_diffusion.table.command import check_out
from lit_diffusion.table.layout import Layout
from lit_diffusion.table.layout_file import list_layouts, read_layout

PERIOD = 20  # seconds between two looks at runs that are watched
WATCHED = (summary.FILE, "metrics.csv", "samples", "bits_per_dim", "predict")  # in the folder of a run


def main(arguments: list[str]) -> None:
    """Writes the page. Raises ConfigError for a user's mistake."""
    options = make_parser().parse_intermixed_args(arguments)
    if not options.runs:
        raise ConfigError("expected folders of runs, got none; use lit-diffusion report runs")
    out = Path(options.out)
    check_out(out, "--out")
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out: expected a file that ends in .html, got {options.out}; rename it")
    layout = read_layout(options.layout) if options.layout else None
    seen = look(options.runs)
    write(options.runs, layout, out, options.watch)
    if options.open:
        webbrowser.open(out.absolute().as_uri())
    if options.watch:
        watch(options.runs, layout, out, seen)


def write(folders: list[str], layout: Layout | None, out: Path, watched: bool = False) -> None:
    """Writes the page and says so."""
    begin = time.monotonic()
    html, runs = make_page(folders, layout, PERIOD if watched else 0)
    try:
        with written_whole(out) as temporary:
            temporary.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written ({error.strerror}); choose another file") from error
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    print(f"{out}: {count}, {len(html.encode()) / 1e6:.1f} MB, made in {time.monotonic() - begin:.1f} s", flush=True)


def watch(folders: list[str], layout: Layout | None, out: Path, seen: object) -> None:
    """Writes the page anew whenever a run has changed, until Ctrl-C; then once more, as a page that stays as it is.

    seen: what `look` found before the page was made.
    """
    notice(f"renewing {out} as the runs change; Ctrl-C ends")
    try:
        while True:
            time.sleep(PERIOD)
            now = look(folders)
            try:
                if now != seen:
                    write(folders, layout, out, watched=True)
                    seen = now
            except ConfigError as error:  # a summary that has been removed, a disk that is full
                notice(f"not renewed: {error}")
    except KeyboardInterrupt:
        write(folders, layout, out)


def look(folders: list[str]) -> object:
    """What differs once any file of a run has changed that the page shows."""
    found = {}
    for folder in folders:
        for depth in ("", "*/", "*/*/"):
            for path in (path for name in WATCHED for path in Path(folder).glob(f"{depth}{name}")):
                try:
                    status = path.stat()
                except OSError:
                    continue
                found[path] = status.st_mtime_ns, status.st_size
    return found


def make_parser() -> Parser:
    """The options of the command."""
    result = Parser(prog="lit-diffusion report", description=__doc__)
    result.add_argument("runs", metavar="RUNS", nargs="*", help="folders of runs, or folders that contain such")
    result.add_argument("--out", metavar="FILE", default="report.html", help="the file to write (default: report.html)")
    layouts = ", ".join(list_layouts())
    result.add_argument(
        "--layout",
        help=f"of the table: {layouts}, or a YAML file (default: the one with the name of the folder, else a row for "
        "each setting that differs)",
    )
    result.add_argument("--open", action="store_true", help="open the page in a browser")
    result.add_argument("--watch", action="store_true", help=f"renew the page every {PERIOD} s while runs change")
    return result
