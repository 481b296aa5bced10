"""The layout without a layout: rows by whatever the runs differ in, columns for all scores of their ends."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from lit_diffusion.config.keys import shorten_keys
from lit_diffusion.config.relevance import find_differences
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.summary import TRACKED
from lit_diffusion.table.layout import Automatic, Column, Key, Label, Layout, Row, column_of
from lit_diffusion.table.runs import Run
from lit_diffusion.table.scores import KNOWN, RAW

OPTIONAL = ("precision", "recall")
SEED = re.compile(r"(^|[,_.\-])(seed_everything|seed|s)[=_\-]?\d+(?=$|[,_.\-])")
TEST, TRAIN = "bits_per_dim/test", "bits_per_dim/train"


def default_layout(runs: Sequence[Run]) -> Layout:
    """Of these runs. Raises ConfigError where none has settings."""
    settings = [run.settings for run in runs if run.settings is not None]
    if not settings:
        raise ConfigError("no run has settings in its summary, which make the rows; run them again with this version")
    there = {score for run in runs for score in run.scores if not score.startswith(TRACKED)} or {"fid"}
    names = find_differences(settings)
    if not names:
        return Layout(_columns(there), [Row(Label(common_name(runs)), {})], head="run")
    titles = shorten_keys(names)
    return Layout(_columns(there), Automatic([Key(name, titles[name]) for name in names]))


def common_name(runs: Sequence[Run]) -> str:
    """What the names of the folders have in common, without seeds; else the name of the folder around them."""
    paths = [Path(os.path.abspath(run.name)) for run in runs]
    names = {SEED.sub("", path.name) for path in paths}
    if len(names) == 1 and (name := names.pop().strip(",_.-")):
        return name
    around = {path.parent for path in paths}
    return (around.pop() if len(around) == 1 else Path(os.path.commonpath(around))).name or runs[0].name


def _columns(scores: set[str]) -> list[Column]:
    known = [name + suffix for name in KNOWN for suffix in ("", RAW) if name + suffix in scores]
    both = {TEST, TRAIN} <= scores
    columns = []
    for score in [*known, *sorted(scores - set(known))]:
        if both and score == TEST:
            columns.append(column_of(TEST, Label("NLL test (train)"), second=TRAIN))
        elif not (both and score == TRAIN):
            columns.append(column_of(score, optional=score.removesuffix(RAW) in OPTIONAL))
    return columns
