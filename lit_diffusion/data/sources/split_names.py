"""Which split a file is of, by its path, as users of `datasets` and WebDataset name files."""

import os
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from glob import escape
from typing import NamedTuple

# as `datasets` names shards, some with a fingerprint: train-00000-of-00002.parquet, train-00000-of-00002-<hex>.parquet
NUMBERED = re.compile(r"(.*?)(-?)(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?([^/]*)")
CACHE = re.compile(r"cache-[0-9a-f]{16}")  # what `map` and `filter` of `datasets` leave in the folder of a data set
SPLITS = {  # words in the names of folders and files by which `datasets` knows splits
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


class Group(NamedTuple):
    """What the shards of one set have in common. name: what they are called before their numbers, if these say how many
    there are, else the splits that their paths name, or ""; total: how many there should be; end: of their names.
    """

    name: str
    total: int | None = None
    end: str = ""


def splits_in(path: str) -> list[str]:
    """The splits that a path names, such as "train" for imagenet_train2012/0.tar."""
    return sorted({SPLITS[word] for word in re.findall("[a-z]+", path.lower()) if word in SPLITS})


def group_of(path: str) -> Group:
    """The group of a shard by its path, relative to the folder of the set."""
    if match := NUMBERED.fullmatch(path):
        return Group(match[1], int(match[4]), match[5])
    cache = ["cache"] if CACHE.match(os.path.basename(path)) else []
    return Group(" and ".join(cache + splits_in(path)))


def name_groups(groups: Iterable[Group], first: Sequence[str]) -> list[str]:
    """What groups are called in a message: their names, or, if these do not tell them apart, their first files."""
    names = [group.name for group in groups]
    return names if all(names) and len({*names}) == len(names) else [*first]


def only(files: Sequence[str], others: Sequence[str]) -> str:
    """A file, folder or pattern that stands for `files` and for none of `others`, all with their full paths."""
    folder = os.path.commonpath([os.path.dirname(file) for file in files])
    if folder and not any(file.startswith(f"{folder}/") for file in others):
        return folder
    if len(files) == 1:
        return files[0]
    start = os.path.commonprefix(files).rstrip("0123456789")
    depths = {file.count("/", len(start)) for file in files}
    pattern = f"{escape(start)}*{'/*' * max(depths)}{os.path.splitext(files[0])[1]}"
    return files[0] if len(depths) > 1 or any(fnmatch(file, pattern) for file in others) else pattern
