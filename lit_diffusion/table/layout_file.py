"""Layouts from YAML files, the shipped ones and a user's own, with one line for every mistake in them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit_diffusion.config import untrusted_yaml
from lit_diffusion.config.keys import last_part, normalize_key
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.table.layout import Automatic, Column, Heading, Key, Label, Layout, Row, column_of
from lit_diffusion.table.paper import paper_row

# What reads or writes files, runs programs, or makes the name of something that does: no text of a table needs it.
COMMANDS = re.compile(
    r"(?i:\^\^|\\\w*(input|include|write|file|read|open|shell|csname|catcode|lua|verbatim|listing))"
    r"|\\([gex]?def|let|special|scantokens|usepackage|newcommand|immediate|loop)(?![A-Za-z])"
)
SHIPPED = Path(__file__).parent / "layouts"
BEST = ("lowest", "highest", None)
MOST_DIGITS = 15  # of a number in double precision
TYPES: dict[str, tuple[Any, str]] = {
    "score": (str, "the name of a score, as fid"),
    "with": (str, "the name of a score, as bits_per_dim/train"),
    "title": (str, "a text"),
    "head": (str, "a text"),
    "label": (str, "a text"),
    "latex": (str, "a text in LaTeX, in single quotes"),
    "group": (str, "a text"),
    "paper": (str, "a row of a paper, as ddpm/epsilon_simple"),
    "key": (str, "a dotted key of a setting, as model.sampler"),
    "digits": (int, "a whole number, as 2"),
    "spread": (bool, "true or false"),
    "prefix": (str, "a text, as ≤"),
    "names": (dict, "values and their names, as {null: all}"),
    "where": (dict, "settings by dotted keys, as {model.objective: Simple}"),
    "by": (list, "a list of dotted keys, as [model.sampler]"),
    "compare": (bool, "true or false"),
    "columns": (list, "a list of scores, as [fid, inception_score]"),
    "rows": ((list, dict), "a list of rows, or {by: [dotted keys]}"),
}


def shipped_layouts() -> list[str]:
    """Names of the layouts that the package ships."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_layout(name: str) -> Layout:
    """A shipped layout by its name, or one from a file. Raises ConfigError for whatever is wrong in it."""
    path = SHIPPED / f"{name}.yaml" if name in shipped_layouts() else Path(name)
    if not path.is_file():
        raise ConfigError(f"--layout: there is no layout {name}; write {', '.join(shipped_layouts())}, or a YAML file")
    content = untrusted_yaml.load(path)
    try:
        return _layout(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _layout(content: Any) -> Layout:
    part = _part(content, "a layout", {"columns", "rows"}, {"title", "latex", "head", "compare"})
    columns = [_column(one, f"column {number}") for number, one in enumerate(part["columns"], 1)]
    if not columns:
        raise ConfigError("columns: there are none; write at least one, as [fid]")
    title = Label(part["title"], part.get("latex")) if "title" in part else None
    return Layout(columns, _rows(part["rows"]), title, part.get("head", ""), part.get("compare", True))


def _column(content: Any, place: str) -> Column:
    if isinstance(content, str):
        return column_of(content)
    options = {"with", "title", "latex", "best", "digits", "spread", "prefix"}
    part = dict(content) if isinstance(content, Mapping) else content
    paper = part.pop("paper", False) if isinstance(part, dict) else False
    part = _part(part, place, {"score"}, options)
    if not isinstance(paper, bool):
        raise ConfigError(f"{place}: paper: {paper!r} is neither; write true for the paper's numbers, or leave it out")
    if part.get("best") not in BEST:
        raise ConfigError(f"{place}: best: {part['best']!r} is no direction; write lowest, highest or null")
    if part.get("digits", 0) < 0:
        raise ConfigError(f"{place}: digits: {part['digits']} is negative; write 0 or more")
    if part.get("digits", 0) > MOST_DIGITS:
        raise ConfigError(f"{place}: digits: {str(part['digits'])[:20]} are too many; write 0 to {MOST_DIGITS}")
    title = Label(part["title"], part.get("latex")) if "title" in part else None
    rest = {key: part[key] for key in ("best", "digits", "spread", "prefix") if key in part}
    return column_of(part["score"], title, paper, second=part.get("with"), **rest)


def _rows(content: Any) -> list[Heading | Row] | Automatic:
    if isinstance(content, dict):
        part = _part(content, "rows", {"by"}, {"where"})
        keys = [_key(one, f"rows: by {number}") for number, one in enumerate(part["by"], 1)]
        if not keys:
            raise ConfigError("rows: by: there are no keys; write at least one, as [model.sampler]")
        return Automatic(keys, _where(part.get("where", {}), "rows"))
    if not content:
        raise ConfigError("rows: there are none; write at least one, or {by: [dotted keys]}")
    return [_row(one, f"row {number}") for number, one in enumerate(content, 1)]


def _key(content: Any, place: str) -> Key:
    if isinstance(content, str):
        return Key(normalize_key(content), last_part(content))
    part = _part(content, place, {"key"}, {"title", "names"})
    names = {str("null" if value is None else value): str(name) for value, name in part.get("names", {}).items()}
    key = normalize_key(part["key"])
    return Key(key, part.get("title", last_part(key)), names)


def _where(content: dict[Any, Any], place: str) -> dict[str, Any]:
    """With the keys of summaries."""
    for key in content:
        if not isinstance(key, str):
            raise ConfigError(f"{place}: where: {key!r} is no key; write a dotted key of a setting, as model.sampler")
    return {normalize_key(key): value for key, value in content.items()}


def _row(content: Any, place: str) -> Heading | Row:
    if isinstance(content, dict) and "group" in content:
        part = _part(content, place, {"group"}, {"latex"})
        return Heading(Label(part["group"], part.get("latex")))
    part = _part(content, place, {"label"}, {"latex", "where", "paper"})
    if not {"where", "paper"} & part.keys():
        raise ConfigError(f"{place}: neither where nor paper; write the settings of its runs, a paper's row, or both")
    if "paper" in part:
        try:
            paper_row(part["paper"])
        except ConfigError as error:
            raise ConfigError(f"{place}: paper: {error}") from error
    where = _where(part["where"], place) if "where" in part else None
    return Row(Label(part["label"], part.get("latex")), where, part.get("paper"))


def _part(content: Any, place: str, needed: set[str], optional: set[str]) -> dict[str, Any]:
    """A mapping with these keys of the right types."""
    if not isinstance(content, dict):
        raise ConfigError(f"{place} is no mapping; write keys and values: {', '.join(sorted(needed | optional))}")
    for key in sorted(needed - content.keys()):
        raise ConfigError(f"{place}: {key} is missing; write {TYPES[key][1]}")
    for key, value in content.items():
        if key not in needed | optional:
            known = ", ".join(sorted(needed | optional))
            raise ConfigError(f"{place}: there is no key {key}; write one of {known}")
        types, example = TYPES.get(key, (object, ""))
        if not isinstance(value, types) or (types is int and isinstance(value, bool)):
            raise ConfigError(f"{place}: {key}: {value!r} has another type; write {example}")
    latex = content.get("latex") or ""
    if COMMANDS.search(latex):
        raise ConfigError(f"{place}: latex: {latex} does more than set a text; write a text or a formula, as '$\\mu$'")
    return {key: one_line(value) if isinstance(value, str) else value for key, value in content.items()}
