"""Which files of a set in several parts belong to it, and whether all are there."""

import glob
import os
import re
from collections.abc import Sequence

from lit_diffusion.errors import ConfigError

NUMBERED = re.compile(r"(.*?)-?(\d{5})-of-(\d{5})(.*)")  # as `datasets` names shards: train-00000-of-00002.parquet


def find_shards(argument: str, root: str, suffixes: Sequence[str]) -> list[str]:
    """The files of a set, sorted: `root` itself, those that match it as a pattern with *, or those below it.

    argument: the setting that gives root. Raises ConfigError if there is none, if they are of several splits, or if one
    of those that their names announce is missing.
    """
    kinds = " or ".join(suffixes)
    if os.path.isfile(root):
        return [root]
    if os.path.isdir(root):
        found = glob.glob(os.path.join(glob.escape(root), "**"), recursive=True)
    else:
        found = glob.glob(root, recursive=True)
    shards = sorted(path for path in found if path.lower().endswith(tuple(suffixes)) and os.path.isfile(path))
    if not shards:
        raise ConfigError(f"{argument}: expected {kinds} files, but no file, folder or pattern is called {root!r}")
    top = os.path.realpath(root)
    for path in shards:
        target = os.path.realpath(path)
        if os.path.isdir(root) and os.path.commonpath([target, top]) != top:
            raise ConfigError(
                f"{argument}: {path} links to {target}, outside the folder; write {root}/*{suffixes[0]} to follow links"
            )
    _check_complete(argument, root, shards)
    return shards


def _check_complete(argument: str, root: str, shards: Sequence[str]) -> None:
    sets: dict[tuple[str, ...], set[int]] = {}
    for path in shards:
        if match := NUMBERED.fullmatch(path):
            before, number, count, after = match.groups()
            sets.setdefault((before, count, after), set()).add(int(number))
    for (before, count, after), numbers in sets.items():
        if missing := sorted({*range(int(count))} - numbers):
            raise ConfigError(
                f"{argument}: expected {int(count)} shards, but {before}-{missing[0]:05}-of-{count}{after} is missing"
            )
    splits = sorted({os.path.basename(before) for before, _, _ in sets})
    if len(splits) > 1:
        raise ConfigError(
            f"{argument}: expected the shards of one split, but {root!r} has {', '.join(splits)}; choose one, such as "
            f"{os.path.join(os.path.dirname(shards[-1]), splits[-1])}-*"
        )
