"""The tables of runs without a layout: one for each data set, whose rows are what its experiments differ in."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_diffusion.config.keys import shorten_keys
from lit_diffusion.config.relevance import ABSENT, Settings, find_differences
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.summary import TRACKED
from lit_diffusion.table.experiment import group
from lit_diffusion.table.known_scores import BY_CLASS, KNOWN, RAW
from lit_diffusion.table.layout import Automatic, Column, Key, Label, Layout, Row, make_column
from lit_diffusion.table.runs import Run

MOST_KEYS = 4  # that rows differ in; if there are more, rows have the names of their runs
SHOWN = 3  # of them then
OPTIONAL = ("precision", "recall")
SEED = re.compile(r"(^|[,_.\-])(seed_everything|seed|s)[=_\-]?\d+(?=$|[,_.\-])")
TEST, TRAIN = "bits_per_dim/test", "bits_per_dim/train"


def split_runs(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each table, by its title: all, or those of each data set if they differ in many settings.

    Runs without settings are in the first.
    """
    settings = [run.settings for run in runs if run.settings is not None]
    found = group((str(one.get("data", "")), one) for one in settings)
    if len(found) < 2 or len(find_differences(settings)) <= MOST_KEYS:
        return {"": list(runs)}
    return group(
        (next(iter(found)) if run.settings is None else str(run.settings.get("data", "")), run) for run in runs
    )


def make_default_layout(runs: Sequence[Run], all_keys: bool = False, title: str = "") -> Layout:
    """A row for each combination of the settings that differ, a column for each final score of all classes.

    If more than MOST_KEYS settings differ, rows have the names of their runs and the settings that tell most of them
    apart. all_keys: they have all settings instead. Raises ConfigError if no run has settings.
    """
    settings = [run.settings for run in runs if run.settings is not None]
    if not settings:
        raise ConfigError("no summary has the settings that make the rows; repeat the runs with this version")
    columns = _make_columns(
        {score for run in runs for score in run.scores if not score.startswith((TRACKED, BY_CLASS))}
    )
    label = Label(title) if title else None
    keys = find_differences(settings)
    if not keys:
        return Layout(columns, [Row(Label(find_common_name(runs)), {})], label, head="run")
    titles = shorten_keys(keys)
    if all_keys or len(keys) <= MOST_KEYS:
        return Layout(columns, Automatic([Key(key, titles[key]) for key in keys]), label)
    telling = choose_telling(keys, settings)
    hidden = [key for key in keys if key not in telling]
    ordered = [Key(key, titles[key], shown=key in telling) for key in (*telling, *hidden)]
    return Layout(columns, Automatic(ordered, named=True), label)


def choose_telling(keys: Sequence[str], settings: Sequence[Settings]) -> list[str]:
    """At most SHOWN keys that tell most of the experiments apart, the most telling first; classes before numbers."""
    chosen: list[str] = []
    parts = 1

    def count(key: str) -> int:
        return len({repr([one.get(part, ABSENT) for part in (*chosen, key)]) for one in settings})

    def names_classes(key: str) -> bool:
        values = [one[key] for one in settings if key in one]
        return all(isinstance(value, str) and value[:1].isupper() for value in values)

    for _ in range(SHOWN):
        best = max(keys, key=lambda key: (count(key), names_classes(key), -keys.index(key)))
        if count(best) == parts:
            break
        parts = count(best)
        chosen.append(best)
    return chosen


def find_common_name(runs: Sequence[Run]) -> str:
    """What the names of the folders share apart from seeds; otherwise the name of the folder around them."""
    paths = [Path(os.path.abspath(run.name)) for run in runs]
    names = {SEED.sub("", path.name) for path in paths}
    if len(names) == 1 and (name := names.pop().strip(",_.-")):
        return name
    return Path(os.path.commonpath([path.parent for path in paths])).name or runs[0].name


def _make_columns(scores: set[str]) -> list[Column]:
    usual = [name + suffix for name in KNOWN for suffix in ("", RAW) if name + suffix in scores]
    names = [*usual, *sorted(scores - set(usual))]
    if not names:
        return [make_column("fid", Label("score"))]
    pair: dict[str, Any] = {}
    if {TEST, TRAIN} <= scores:
        names.remove(TRAIN)
        pair = {TEST: make_column(TEST, Label("NLL test (train)"), second=TRAIN)}
    return [pair.get(name) or make_column(name, optional=name.removesuffix(RAW) in OPTIONAL) for name in names]
