"""Which files of a set in several parts belong to it, and whether all are there."""

import glob
import os
from collections.abc import Sequence

from lit_diffusion.data.sources.split_names import NUMBERED, Group, group_of, name_groups, only
from lit_diffusion.errors import ConfigError


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
    if os.path.isdir(root):
        check_links(argument, root, shards)
    _check_one_set(argument, root, shards)
    return shards


def check_links(argument: str, root: str, shards: Sequence[str]) -> None:
    """Raises ConfigError if a file of a folder is a link that leads out of it."""
    top = os.path.realpath(root)
    for path in shards:
        target = os.path.realpath(path)
        if os.path.commonpath([target, top]) != top:
            raise ConfigError(
                f"{argument}: {path} links to {target}, outside the folder; write "
                f"{root}/*{os.path.splitext(path)[1]} to follow links"
            )


def common_folder(files: Sequence[str]) -> str:
    """The innermost folder that holds all files."""
    return os.path.commonpath([os.path.dirname(file) or "." for file in files])


def _rank(group: Group) -> tuple[bool, ...]:
    """The lower, the more likely a group is what should be trained on."""
    return not group.name.endswith("train"), group.name.endswith(("test", "validation", "cache")), group.total is None


def _check_one_set(argument: str, root: str, shards: Sequence[str]) -> None:
    """Raises ConfigError if shards are of several sets, by their names, or if one of theirs is missing or double."""
    top = root if os.path.isdir(root) else os.path.dirname(root.partition("*")[0].partition("[")[0].partition("?")[0])
    groups = dict[Group, list[str]]()
    for path in shards:
        groups.setdefault(group_of(os.path.relpath(path, top or ".")), []).append(path)
    if len(groups) > 1:
        shown = name_groups(groups, [os.path.relpath(files[0], top or ".") for files in groups.values()])
        best = min(groups, key=_rank)
        choice = only(groups[best], [path for path in shards if path not in groups[best]])
        raise ConfigError(
            f"{argument}: expected the shards of one split, but {root!r} has {', '.join(shown)}; choose one, such as "
            f"{choice}"
        )
    numbers = dict[int, str]()
    for path in shards:
        if match := NUMBERED.fullmatch(path):
            before, dash, number, count, end = match.groups()
            if int(number) in numbers:
                raise ConfigError(
                    f"{argument}: expected each shard once, but {path} and {numbers[int(number)]} are both number "
                    f"{number}; remove the older one"
                )
            numbers[int(number)] = path
    if numbers and (missing := sorted({*range(int(count))} - {*numbers})):
        raise ConfigError(
            f"{argument}: expected {int(count)} shards, but {before}{dash}{missing[0]:05}-of-{count}{end} is missing"
        )
