"""Layouts from YAML files, shipped or a user's, with one line for every mistake in them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit_diffusion.config import untrusted_yaml
from lit_diffusion.config.keys import last_part, normalize_key
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.table.known_scores import get_paper_row
from lit_diffusion.table.layout import Automatic, Column, Heading, Key, Label, Layout, Row, make_column

# Commands that read or write files, run programs, or build the names of such: no text of a table needs them.
COMMANDS = re.compile(
    r"(?i:\^\^|\\\w*(input|include|write|file|read|open|shell|csname|catcode|lua|verbatim|listing))"
    r"|\\([gex]?def|let|special|scantokens|usepackage|newcommand|immediate|loop)(?![A-Za-z])"
)
SHIPPED = Path(__file__).parent / "layouts"
BEST = ("lowest", "highest", None)
MOST_DIGITS = 15  # of a number in double precision
TEXT = (str, "text")
TYPES: dict[str, tuple[Any, str]] = {
    "score": (str, "the name of a score, such as fid"),
    "with": (str, "the name of a score, such as bits_per_dim/train"),
    "title": TEXT,
    "head": TEXT,
    "label": TEXT,
    "latex": (str, "a text in LaTeX, in single quotes"),
    "group": TEXT,
    "paper": (str, "a row of a paper, such as ddpm/epsilon_simple"),
    "key": (str, "the dotted key of a setting, such as model.sampler"),
    "digits": (int, "a whole number, such as 2"),
    "spread": (bool, "true or false"),
    "prefix": (str, "a text, such as ≤"),
    "names": (dict, "values and their names, such as {null: all}"),
    "where": (dict, "settings by dotted keys, such as {model.objective: Simple}"),
    "without": (list, "a list of scores, such as [bits_per_dim/test]"),
    "by": (list, "a list of dotted keys, such as [model.sampler]"),
    "compare": (bool, "true or false"),
    "columns": (list, "a list of scores, such as [fid, inception_score]"),
    "rows": ((list, dict), "a list of rows, or {by: [dotted keys]}"),
}


def list_layouts() -> list[str]:
    """The names of the shipped layouts."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_layout(name: str) -> Layout:
    """A shipped layout by its name, or that of a file. Raises ConfigError for any mistake in it."""
    path = SHIPPED / f"{name}.yaml" if name in list_layouts() else Path(name)
    if not path.is_file():
        raise ConfigError(f"--layout: no layout {name}; choose {', '.join(list_layouts())}, or a YAML file")
    content = untrusted_yaml.load(path)
    try:
        return _read_layout(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_layout(content: Any) -> Layout:
    fields = _read_fields(content, "layout", {"columns", "rows"}, {"title", "latex", "head", "compare"})
    columns = [_read_column(one, f"column {number}") for number, one in enumerate(fields["columns"], 1)]
    if not columns:
        raise ConfigError("columns: expected at least one score, such as [fid]; got none")
    title = _read_label(fields, "title")
    return Layout(columns, _read_rows(fields["rows"]), title, fields.get("head", ""), fields.get("compare", True))


def _read_label(fields: Mapping[str, Any], key: str) -> Label | None:
    return Label(fields[key], fields.get("latex")) if key in fields else None


def _read_column(content: Any, place: str) -> Column:
    if isinstance(content, str):
        return make_column(content)
    paper = content.get("paper", False) if isinstance(content, dict) else False
    if not isinstance(paper, bool):
        raise ConfigError(f"{place}: paper: expected true for the paper's numbers, got {paper!r}; omit it otherwise")
    rest = {key: value for key, value in content.items() if key != "paper"} if isinstance(content, dict) else content
    options = {"best", "digits", "spread", "prefix"}
    fields = _read_fields(rest, place, {"score"}, options | {"with", "title", "latex"})
    if fields.get("best") not in BEST:
        raise ConfigError(f"{place}: best: expected lowest, highest or null, got {fields['best']!r}")
    if not 0 <= fields.get("digits", 0) <= MOST_DIGITS:
        raise ConfigError(f"{place}: digits: expected 0 to {MOST_DIGITS}, got {str(fields['digits'])[:20]}")
    chosen = {key: value for key, value in fields.items() if key in options}
    return make_column(fields["score"], _read_label(fields, "title"), paper, second=fields.get("with"), **chosen)


def _read_rows(content: Any) -> list[Heading | Row] | Automatic:
    if isinstance(content, dict):
        fields = _read_fields(content, "rows", {"by"}, {"where"})
        keys = [_read_key(one, f"rows: by {number}") for number, one in enumerate(fields["by"], 1)]
        if not keys:
            raise ConfigError("rows: by: expected at least one key, such as [model.sampler]; got none")
        return Automatic(keys, _read_where(fields.get("where", {}), "rows"))
    if not content:
        raise ConfigError("rows: expected at least one row, or {by: [dotted keys]}; got none")
    return [_read_row(one, f"row {number}") for number, one in enumerate(content, 1)]


def _read_key(content: Any, place: str) -> Key:
    fields = _read_fields({"key": content} if isinstance(content, str) else content, place, {"key"}, {"title", "names"})
    names = {str("null" if value is None else value): str(name) for value, name in fields.get("names", {}).items()}
    key = normalize_key(fields["key"])
    return Key(key, fields.get("title", last_part(key)), names)


def _read_where(content: dict[Any, Any], place: str) -> dict[str, Any]:
    for key in content:
        if not isinstance(key, str):
            raise ConfigError(f"{place}: where: expected a dotted key, such as model.sampler; got {key!r}")
    return {normalize_key(key): value for key, value in content.items()}


def _read_row(content: Any, place: str) -> Heading | Row:
    if isinstance(content, dict) and "group" in content:
        fields = _read_fields(content, place, {"group"}, {"latex"})
        return Heading(Label(fields["group"], fields.get("latex")))
    fields = _read_fields(content, place, {"label"}, {"latex", "where", "paper", "without"})
    if not {"where", "paper"} & fields.keys():
        raise ConfigError(f"{place}: where and paper are missing; set the settings of its runs, a paper's row, or both")
    if "paper" in fields:
        try:
            get_paper_row(fields["paper"])
        except ConfigError as error:
            raise ConfigError(f"{place}: paper: {error}") from error
    where = _read_where(fields["where"], place) if "where" in fields else None
    without = tuple(map(str, fields.get("without", ())))
    return Row(Label(fields["label"], fields.get("latex")), where, fields.get("paper"), without)


def _read_fields(content: Any, place: str, needed: set[str], optional: set[str]) -> dict[str, Any]:
    """A mapping with these keys, its values checked for their types and its texts on one line."""
    known = ", ".join(sorted(needed | optional))
    if not isinstance(content, dict):
        raise ConfigError(f"{place}: expected keys and values ({known}), got {one_line(content)[:40]}")
    for key in sorted(needed - content.keys()):
        raise ConfigError(f"{place}: {key} is missing; set it to {TYPES[key][1]}")
    for key, value in content.items():
        if key not in needed | optional:
            raise ConfigError(f"{place}: unknown key {key}; choose one of {known}")
        types, expected = TYPES.get(key, (object, ""))
        if not isinstance(value, types) or (types is int and isinstance(value, bool)):
            raise ConfigError(f"{place}: {key}: expected {expected}, got {value!r}")
    latex = content.get("latex") or ""
    if COMMANDS.search(latex):
        raise ConfigError(f"{place}: latex: {latex} is more than a text; use a text or a formula, such as '$\\mu$'")
    return {key: one_line(value) if isinstance(value, str) else value for key, value in content.items()}
