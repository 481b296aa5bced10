"""The page: everything about some runs in one HTML file that loads nothing and runs no script but ours.

Nothing in the folders of runs is trusted. Their texts enter the HTML through a template that escapes them, and the data
of the scripts as JSON without markup, which the scripts read as text. The page's content security policy, in its head,
names the hashes of our scripts and of our style and forbids everything else.
"""

import base64
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lit_diffusion import __version__
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.report.bound_view import BoundTable, view_bounds
from lit_diffusion.report.charts import Chart, make_bound_charts, make_curves
from lit_diffusion.report.grouping import RunGroup, group_runs
from lit_diffusion.report.pictures import Album, list_first_pictures, make_album, order_kinds, title_of
from lit_diffusion.report.reported_run import read_reported_run
from lit_diffusion.report.run_view import RunView, format_time, view_runs
from lit_diffusion.report.score_view import TableView, view_table
from lit_diffusion.report.settings_view import SettingsView, view_settings
from lit_diffusion.report.sweep_logs import find_cells_without_run
from lit_diffusion.table.command import make_tables
from lit_diffusion.table.experiment import shorten_paths
from lit_diffusion.table.layout import Layout
from lit_diffusion.table.layout_file import list_layouts, read_layout
from lit_diffusion.table.rows import matches_any
from lit_diffusion.table.runs import Run, read_runs
from lit_diffusion.table.table import Table

LONGEST = 400  # characters of a text
ASSETS = resources.files("lit_diffusion.report") / "assets"
SCRIPTS = ("uPlot.iife.min.js", "selection.js", "tables.js", "reading.js", "curves.js", "pictures.js", "theme.js")
STYLES = ("uPlot.min.css", "report.css")


@dataclass(frozen=True)
class Content:
    """What the template shows. album: the pictures; data: what the scripts read. ends: how many runs there are of each
    status. renewed: every how many seconds the file is written anew, 0 for never.
    """

    title: str
    ends: dict[str, int]
    tables: list[TableView]
    groups: list[RunGroup]
    runs: list[RunView]
    curves: list[Chart]
    more_curves: list[Chart]
    bounds: list[Chart]
    bound_tables: list[BoundTable]
    album: Album
    settings: SettingsView | None
    warnings: list[str]
    renewed: int


def make_page(folders: list[str], layout: Layout | None = None, renewed: int = 0) -> tuple[str, list[Run]]:
    """The HTML of a page about the runs in folders, and the runs: those whose summaries can be read.

    Raises ConfigError if a folder does not exist or contains no run.
    """
    problems, warnings = list[str](), list[str]()
    runs = read_runs(folders, problems)
    warnings += [f"left out: {problem}" for problem in problems]
    reported = [read_reported_run(run) for run in runs]
    tables = _make_tables(folders, layout, runs, warnings)
    groups = group_runs(tables, runs)
    album = make_album([run.folder for run in reported], [run.problems for run in reported])
    protocols: list[Any] = []
    curves, more_curves = make_curves(reported)
    content = Content(
        _make_title(folders),
        dict(Counter(run.status for run in runs)),
        [view_table(table, groups, [run.name for run in runs], protocols) for table in tables],
        groups,
        view_runs(groups, reported),
        curves,
        more_curves,
        make_bound_charts(reported),
        view_bounds(groups, reported),
        album,
        view_settings(groups, runs),
        [*warnings, *find_cells_without_run(folders)],
        renewed,
    )
    return _render(content, protocols), runs


def _make_title(folders: list[str]) -> str:
    if len(folders) == 1:
        return Path(folders[0]).resolve().name or folders[0]
    return ", ".join(shorten_paths(os.path.abspath(folder) for folder in folders).values())


def _make_tables(folders: list[str], layout: Layout | None, runs: list[Run], warnings: list[str]) -> list[Table]:
    """In the layout asked for, else the shipped one that has the name of the folder, as after a sweep, else the default
    ones. Returns an empty list without runs and, with a warning, if no run has settings.
    """
    if not runs:
        return []
    name = Path(folders[0]).resolve().name if len(folders) == 1 else ""
    if layout is None and name in list_layouts() and matches_any(shipped := read_layout(name), runs):
        layout = shipped
    found: list[str] = []
    try:
        tables = make_tables(layout, runs, found)
    except ConfigError as error:
        if layout is not None:
            raise
        warnings.append(str(error))
        return []
    return tables


def _render(content: Content, protocols: list[Any]) -> str:
    scripts = [Markup(read_asset(name)) for name in SCRIPTS]
    style = Markup("\n".join(map(read_asset, STYLES)))
    allowed = " ".join(map(hash_source, scripts))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src {hash_source(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    environment = Environment(
        loader=PackageLoader("lit_diffusion.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=clip,
    )
    environment.filters.update(kind_title=title_of, order_kinds=order_kinds)
    return environment.get_template("page.html").render(
        vars(content),
        by_number={run.number: run for run in content.runs},
        policy=Markup(policy),
        scripts=scripts,
        style=style,
        data=Markup(encode_json(_collect_data(content, protocols))),
        licence=read_asset("uPlot.LICENSE"),
        version=__version__,
        made=format_time(),
    )


def _collect_data(content: Content, protocols: list[Any]) -> dict[str, Any]:
    """What the scripts draw."""
    album = content.album
    first = list_first_pictures(album)
    return {
        "runs": [
            {"name": f"{run.group.name}, {run.label}", "colour": run.group.colour, "dash": run.group.dash}
            for run in sorted(content.runs, key=lambda run: run.number)
        ],
        "charts": [_encode_chart(chart) for chart in (*content.curves, *content.more_curves, *content.bounds)],
        "protocols": protocols,
        "pictures": [None if number in first else Markup(one.source) for number, one in enumerate(album.pictures)],
        "notes": [one.note for one in album.pictures],
        "shown": album.shown,
        "renewed": content.renewed,
    }


def _encode_chart(chart: Chart) -> dict[str, Any]:
    curves = [[run, points.x, points.y, *points.means] for run, points in chart.curves.items()]
    return {"title": chart.title, "x": chart.x_title, "y": chart.y_title, "logX": chart.log_x, "curves": curves}


def read_asset(name: str) -> str:
    """A file of the page's own, as it stands in the page."""
    return (ASSETS / name).read_text(encoding="utf-8")


def hash_source(text: str) -> str:
    """A script or style as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def encode_json(data: Any) -> str:
    """JSON that ends no script element and holds no markup, whatever is in it.

    >>> encode_json({"name": "</script><b>"})
    '{"name":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"}'
    """
    text = json.dumps(_clean(data), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _clean(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _clean(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_clean(value) for value in data]
    return clip(data)


def clip(value: Any) -> Any:
    """A text on one line of at most LONGEST characters, without control characters; others and our own as they are."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return one_line(value if len(value) <= LONGEST else f"{value[:LONGEST]}…")
