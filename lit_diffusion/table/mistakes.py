"""Settings that a layout asks for and that nothing has: most likely they are misspelt."""

import ast
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lit_diffusion.config.relevance import Settings, are_equal, drop_modules
from lit_diffusion.table.layout import Automatic, Layout, Row
from lit_diffusion.table.phrases import listed
from lit_diffusion.table.rows import format_setting
from lit_diffusion.table.runs import Run

PACKAGE = Path(__file__).parents[1]


def mistakes(layout: Layout, runs: Sequence[Run]) -> list[str]:
    """A line for each key that no run has and no class of ours takes, and for the values of a key that are such."""
    settings = [run.settings for run in runs if run.settings is not None]
    keys = {key for one in settings for key in one}
    rows = layout.rows
    if isinstance(rows, Automatic):
        wheres, by = [rows.where], [key.key for key in rows.by]
    else:
        wheres, by = [row.where or {} for row in rows if isinstance(row, Row)], []
    asked = list(dict.fromkeys([*by, *(key for where in wheres for key in where)]))
    unknown = [key for key in asked if not _possible(key, keys)]
    lines = [f"no run has a setting {key}; is it misspelt in the layout?" for key in unknown]
    for key in asked:
        values = [] if key in unknown else _nowhere(key, wheres, settings)
        if values:
            lines.append(f"no run has {key} {listed(map(format_setting, values))}")
    return lines


def _possible(key: str, keys: Collection[str]) -> bool:
    """Whether a run has the setting, or one with another class in the place above may have it."""
    if key in keys:
        return True
    above, _, name = key.rpartition(".")
    return bool(above) and name in _ours()[1] and _possible(above, keys)


def _nowhere(key: str, wheres: Sequence[Mapping[str, Any]], settings: Sequence[Settings]) -> list[Any]:
    """The values asked for of which no run has any spelling, and which are no class of ours."""
    there = [one.get(key) for one in settings]

    def is_there(value: Any) -> bool:
        return value is None or any(are_equal(own, one) for own in there for one in (value, drop_modules(value)))

    wanted = [where[key] for where in wheres if key in where]
    values = [value for one in wanted if not is_there(one) for value in (one if isinstance(one, list) else [one])]
    return [value for value in values if not is_there(value) and str(drop_modules(value)) not in _ours()[0]]


@cache
def _ours() -> tuple[frozenset[str], frozenset[str]]:
    """Names of all classes of the package, and of what they are made of; read, so that nothing is imported."""
    classes, parameters = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.add(node.name)
            elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
                parameters |= {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    return frozenset(classes), frozenset(parameters)
