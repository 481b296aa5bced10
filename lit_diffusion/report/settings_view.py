"""The settings in which experiments differ, as one table: the shorter side becomes its columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from lit_diffusion.config.keys import shorten_keys
from lit_diffusion.config.relevance import ABSENT, find_differences
from lit_diffusion.report.grouping import RunGroup
from lit_diffusion.table.rows import format_setting
from lit_diffusion.table.runs import Run


@dataclass(frozen=True)
class SettingsView:
    """by_setting: whether each row is a setting; otherwise each is an experiment. cells: row by row."""

    by_setting: bool
    heads: list[str]
    rows: list[tuple[str, list[str]]]


def view_settings(groups: Sequence[RunGroup], runs: Sequence[Run]) -> SettingsView | None:
    """None if nothing differs, or fewer than two experiments have settings."""
    known = [(one, settings) for one in groups if (settings := runs[one.runs[0]].settings) is not None]
    keys = find_differences([settings for _, settings in known]) if len(known) > 1 else []
    if not keys:
        return None
    names = [one.name for one, _ in known]
    table = [[format_setting(settings.get(key, ABSENT)) for key in keys] for _, settings in known]
    if len(keys) > len(names):
        return SettingsView(True, names, list(zip(keys, map(list, zip(*table)))))
    titles = shorten_keys(keys)
    return SettingsView(False, [titles[key] for key in keys], list(zip(names, table)))
