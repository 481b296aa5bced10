"""Warnings about a table: rows that do not compare, and settings in the layout that look misspelt."""

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lit_diffusion.config.keys import is_within
from lit_diffusion.config.relevance import (
    CHECKPOINT,
    Settings,
    affects_training,
    are_equal,
    drop_modules,
    find_differences,
    identify,
)
from lit_diffusion.table.experiment import NOT_GIVEN, RANDOM, STEP, group, shorten_paths
from lit_diffusion.table.known_scores import describe_score
from lit_diffusion.table.layout import Automatic, Layout
from lit_diffusion.table.rows import TableRow, count_rows, format_setting
from lit_diffusion.table.runs import Run

PACKAGE = Path(__file__).parents[1]
MOST_LINES, MOST_VALUES = 5, 4
# Settings that determine a field of protocols: rows that differ in one of them may differ in the field.
EXPLAINED = {
    "sampler": ("model.sampler",),
    "steps": ("model.sampler.steps",),
    "spacing": ("model.sampler.spacing",),
    "eta": ("model.sampler.eta",),
    "order": ("model.sampler",),
    "guidance_scale": ("model.sampler.guidance_scale",),
    "nfe": ("model.sampler.steps", "model.sampler.guidance_scale", "model.reverse.process.schedule.num_steps"),
    "T": ("model.reverse.process.schedule.num_steps",),
    **dict.fromkeys(("variance", "last_variance"), ("model.reverse.variance",)),
    "clip_x_0": ("model.reverse.clip_x_0",),
    **dict.fromkeys(("bound", "terms", "draws"), ("model",)),  # of rows of different kinds of models
    **dict.fromkeys(("likelihood", "noise"), ("model.vae",)),
    "beta": ("model.beta",),
    "latent_size": ("model.latent_size",),
    "latents": ("model.autoencoder",),
    "precision": ("trainer.precision",),
    "step": (STEP, "trainer.max_steps", "trainer.max_epochs", "trainer.max_time"),
}


def list_differences(rows: Sequence[TableRow], keys: Iterable[str]) -> dict[str, str]:
    """By setting, a line that says how the rows differ in it."""
    settings = [(row.name, row.experiment.settings) for row in rows if row.experiment]
    lines = {}
    for key in keys:
        values = group((format_setting(one[key]) if key in one else NOT_GIVEN, name) for name, one in settings)
        lines[key] = f"rows also differ in {key}: {_list_rows(values)}"
    return lines


def list_hidden_differences(rows: Sequence[TableRow], layout: Layout) -> list[str]:
    """The lines of the settings that make rows and have no column; of many, the first few."""
    keys = layout.rows.by if isinstance(layout.rows, Automatic) else []
    return keep_few(list_differences(rows, [key.key for key in keys if not key.shown]), "rows also differ in")


def warn_of_training(
    rows: Sequence[TableRow], scores: Sequence[str], row_keys: Sequence[str]
) -> tuple[list[str], list[str]]:
    """A warning for each setting of the training in which rows differ although it does not make the rows, and for
    different checkpoints of one training; and the keys of these settings.
    """
    measured = [row for row in rows if row.experiment and any(row.measured(score) for score in scores)]
    settings = [(row.name, _get_training(row)) for row in measured]
    keys = [key for key in find_differences([one for _, one in settings]) if not is_within(key, row_keys)]
    lines = {}
    for key in keys:
        values = group((format_setting(one[key]) if key in one else NOT_GIVEN, name) for name, one in settings)
        lines[key] = f"rows were trained differently: {key} is {_list_rows(values)}"
    checkpoints = [] if CHECKPOINT in row_keys else _warn_of_checkpoints(measured)
    return [*keep_few(lines, "rows were trained differently in"), *checkpoints], keys


def _get_training(row: TableRow) -> Settings:
    settings = row.experiment.settings if row.experiment else {}
    return {key: value for key, value in settings.items() if affects_training(key)}


def _warn_of_checkpoints(rows: Sequence[TableRow]) -> list[str]:
    """A warning if rows of the same training and seed scored different checkpoints."""
    trainings = group(
        ((identify(_get_training(row)), run.seed), (run.checkpoint, row.name))
        for row in rows
        for run in (row.experiment.runs if row.experiment else [])
        if run.checkpoint
    )
    several = [files for files in map(group, trainings.values()) if len(files) > 1]
    if not several:
        return []
    names = shorten_paths(several[0])
    values = {names[file]: in_rows for file, in_rows in several[0].items()}
    more = f", and {len(several) - 1} more trainings" if several[1:] else ""
    return [f"rows are of different checkpoints of one training: {CHECKPOINT} is {_list_rows(values)}{more}"]


def warn_of_disagreements(rows: Sequence[TableRow], scores: Sequence[str], row_keys: Sequence[str]) -> list[str]:
    """A warning for each field of a protocol in which rows differ, unless a setting that makes the rows explains it."""
    differing: list[tuple[str, tuple[str, str]]] = []  # field; the values by row, the title of the score
    absent: list[tuple[str, str]] = []  # the rows without a field; field
    for score in scores:
        measured = [(row.name, [one.protocol for one in row.measured(score)]) for row in rows if row.measured(score)]
        for field in dict.fromkeys(field for _, protocols in measured for one in protocols for field in one):
            if field in RANDOM or any(is_within(setting, row_keys) for setting in EXPLAINED.get(field, ())):
                continue
            values = group((_list_few(one.get(field, NOT_GIVEN) for one in protocols), n) for n, protocols in measured)
            if len(values) == 2 and NOT_GIVEN in values:
                absent.append((_name_first(values[NOT_GIVEN]), field))
            elif len(values) > 1:
                differing.append((field, (_list_rows(values), describe_score(score).title)))
    lines = {}
    for field, found in group(differing).items():
        parts = [f"{', '.join(titles)}: {field} is {values}" for values, titles in group(found).items()]
        lines[field] = f"rows do not compare in {'; '.join(parts)}"
    missing = [
        f"rows may not compare: the protocol of {names} lacks the field{'s' * (len(fields) > 1)} {_list_few(fields)}"
        for names, fields in group(absent).items()
    ]
    return [*keep_few(lines, "rows do not compare either in"), *missing]


def warn_of_steps(rows: Sequence[TableRow], scores: Sequence[str]) -> list[str]:
    """A warning if the averaged seeds of a row were trained for different numbers of steps."""
    found: dict[str, str] = {}
    for row in rows:
        for score in scores:
            steps = {str(one.protocol[STEP]) for one in row.measured(score) if STEP in one.protocol}
            if len(steps) > 1:
                found.setdefault(row.name, ", ".join(sorted(steps, key=lambda text: (len(text), text))))
    if not found:
        return []
    name, several = next(iter(found.items()))
    more = f", and {count_rows(len(found) - 1)}" if len(found) > 1 else ""
    return [f"seeds are averaged that were scored after different training steps: {name} ({several}){more}"]


def warn_of_typos(layout: Layout, runs: Sequence[Run]) -> list[str]:
    """A warning for each key that no run has and no class of this package takes, and for such values of a key."""
    settings = [run.settings for run in runs if run.settings is not None]
    keys = {key for one in settings for key in one}
    by = [key.key for key in layout.rows.by] if isinstance(layout.rows, Automatic) else []
    lines = {}
    for key in dict.fromkeys([*by, *(key for where in layout.wheres for key in where)]):
        if not _is_possible(key, keys):
            lines[key] = f"no run has a setting {key}; is it misspelt in the layout?"
        elif values := _find_absent_values(key, layout.wheres, settings):
            lines[key] = f"no run has {key} {_list_few(map(format_setting, values))}"
    return list(lines.values())


def _is_possible(key: str, keys: Collection[str]) -> bool:
    """Whether a run has the setting, or could have it with another class one level above."""
    above, _, name = key.rpartition(".")
    return key in keys or (bool(above) and name in _list_own_names()[1] and _is_possible(above, keys))


def _find_absent_values(key: str, wheres: Sequence[Mapping[str, Any]], settings: Sequence[Settings]) -> list[Any]:
    """The wanted values of a key that no run has in any spelling and that do not name a class of this package."""
    values = [one.get(key) for one in settings]

    def is_present(wanted: Any) -> bool:
        return wanted is None or any(
            are_equal(value, one) for value in values for one in (wanted, drop_modules(wanted))
        )

    wanted = [where[key] for where in wheres if key in where]
    absent = [value for one in wanted if not is_present(one) for value in (one if isinstance(one, list) else [one])]
    classes = _list_own_names()[0]
    return [value for value in absent if not is_present(value) and str(drop_modules(value)) not in classes]


@cache
def _list_own_names() -> tuple[frozenset[str], frozenset[str]]:
    """The names of all classes of this package, and of the arguments of all constructors; nothing is imported."""
    classes, arguments = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.add(node.name)
            elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
                arguments |= {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    return frozenset(classes), frozenset(arguments)


def _name_first(names: Sequence[str]) -> str:
    """`a and 3 more`."""
    unique = list(dict.fromkeys(names))
    return unique[0] + (f" and {len(unique) - 1} more" if unique[1:] else "")


def _list_few(values: Iterable[Any]) -> str:
    """`a, b, c`: each value once, and only the number of those after the first few."""
    unique = list(dict.fromkeys(map(format_setting, values)))
    more = [f"{len(unique) - MOST_VALUES} more"] if unique[MOST_VALUES:] else []
    return ", ".join([*unique[:MOST_VALUES], *more])


def _list_rows(values: Mapping[str, Sequence[str]]) -> str:
    """The rows of each value: `40 in a, 4000 in b and 1 more`."""
    return _list_few(f"{value} in {_name_first(names)}" for value, names in values.items())


def keep_few(lines: Mapping[str, str], rest: str) -> list[str]:
    """The first few lines; `rest` begins a line that names only the keys of the others."""
    left = list(lines)[MOST_LINES:]
    more = [f"{rest} {len(left)} more: {', '.join(left)}"] if left else []
    return [*list(lines.values())[:MOST_LINES], *more]
