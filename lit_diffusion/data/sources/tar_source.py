"""WebDataset shards: tar archives in which the files of one example follow one another and share a name."""

import json
import os
import tarfile
from collections.abc import Iterator
from typing import IO

import numpy as np
import torch

from lit_diffusion.data.image_listing import SUFFIXES
from lit_diffusion.data.sources.image_source import MOST_BYTES, ImageSource
from lit_diffusion.data.sources.name_list import NameList
from lit_diffusion.data.sources.per_process import PerProcess
from lit_diffusion.data.sources.shards import common_folder, find_shards
from lit_diffusion.errors import ConfigError, one_line

BLOCK = 512  # bytes; a block of zeros ends an archive
CLASS, FIELDS = ".cls", ".json"  # files with the label of an example: a number; an object that may have a `label`
MOST_LABEL = 2**20  # bytes
COMPRESSORS = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\0", "zstd": b"(\xb5/\xfd"}  # and their marks


class TarSource(ImageSource):
    """The images of tar archives in their order, read at once from the places that one walk over the archives finds.

    Labels are those of .cls files, or the `label` of .json files, if every example has one.
    argument: the setting that gives root, a file, folder or pattern. Raises ConfigError if an archive is damaged, or an
    example has several images or labels, or is there twice.
    """

    def __init__(self, argument: str, root: str):
        self.root, self.files = root, find_shards(argument, root, [".tar"])
        names, places, labels = list[str](), list[tuple[int, int, int]](), list[int | None]()
        self._top = common_folder(self.files)
        for shard, path in enumerate(self.files):
            try:
                for name, offset, size, label in _examples(path):
                    names.append(f"{os.path.relpath(path, self._top)}/{name}")
                    places.append((shard, offset, size))
                    labels.append(label)
            except ConfigError as error:
                raise ConfigError(f"{argument}: {path}: {error}") from error
            except Exception as error:  # tarfile raises several kinds
                raise ConfigError(
                    f"{argument}: {path}: cannot be read as a WebDataset shard "
                    f"({one_line(error) or type(error).__name__}); fetch it again"
                ) from error
        if not names:
            raise ConfigError(f"{argument}: no image in {root!r}; use shards of files ending in {', '.join(SUFFIXES)}")
        self.names, self._places = NameList(names), np.array(places, dtype=np.int64)
        known = [label for label in labels if label is not None]
        if known and len(known) < len(labels):
            first = names[labels.index(None)]
            raise ConfigError(f"{argument}: {root}: expected a label for every image, but {first} has none")
        if known:
            self.labels = torch.tensor(known)
        self._open = PerProcess(dict[str, IO[bytes]])

    def where(self, index: int) -> str:
        return os.path.join(self._top, self.name(index))

    def read(self, index: int) -> bytes:
        shard, offset, size = self._places[index].tolist()
        path, opened = self.files[shard], self._open()
        if path not in opened:
            opened[path] = open(path, "rb")  # noqa: SIM115  # kept open
        opened[path].seek(offset)
        content = opened[path].read(size)
        if len(content) != size:
            raise ValueError("truncated")
        return content


def _examples(path: str) -> Iterator[tuple[str, int, int, int | None]]:
    """Each example of a shard: the name of its image, where the content begins, its length, and its label.

    Raises ConfigError for an example that the shard should not hold, another error if the shard is damaged.
    """
    key, image, label, keys = "", None, None, set[str]()
    for name, offset, size, content in _members(path):
        folder, _, base = name.rpartition("/")
        start, _, end = base.partition(".")
        if (folder + "/" + start) != key:
            if image:
                yield *image, label
            key, image, label = folder + "/" + start, None, None
            if key in keys:
                raise ConfigError(
                    f"expected the files of an example one after another, but {name} is apart from those of the same "
                    "name, or there twice; write the shard again, sorted by name"
                )
            keys.add(key)
        if f".{end}".lower().endswith(SUFFIXES):
            if image:
                raise ConfigError(
                    f"expected one image in an example, but {name} and {image[0]} are named as one; rename one"
                )
            if size > MOST_BYTES:
                raise ConfigError(f"{name} has more than {MOST_BYTES:,} bytes; leave it out")
            image = (name, offset, size)
        elif content is not None and (said := _label(name, content)) is not None:
            if label not in (None, said):
                raise ConfigError(f"expected one label for an example, but {name} has {said}, another file {label}")
            label = said
    if image:
        yield *image, label


def _members(path: str) -> Iterator[tuple[str, int, int, bytes | None]]:
    """Each file in an archive: its name, where it begins, its length, and the content of one that may have a label."""
    length = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(8)
    if tool := next((tool for tool, magic in COMPRESSORS.items() if start.startswith(magic)), None):
        raise ConfigError(f"expected an uncompressed tar file, got one compressed by {tool}; uncompress it")
    with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        end = 0
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # would grow with the archive
            end = member.offset_data + (-member.size // BLOCK * -BLOCK if member.isreg() else 0)
            if end > length:
                raise ValueError(f"truncated: {member.name} goes beyond its end")
            if member.isdir() or any(
                part.startswith(".") and part not in (".", "..") for part in member.name.split("/")
            ):
                continue
            if not member.isreg() or member.issparse():
                raise ConfigError(f"{member.name} is not a regular file; leave it out, or put a copy in its place")
            if member.name.startswith("/") or ".." in member.name.split("/"):
                raise ConfigError(f"{member.name} leads out of the folder; write the shard with relative paths")
            is_label = member.name.lower().endswith((CLASS, FIELDS)) and member.size <= MOST_LABEL
            content = None
            if is_label:
                file.seek(member.offset_data)
                content = file.read(member.size)
            yield member.name, member.offset_data, member.size, content
        file.seek(end)
        if file.read(BLOCK) != bytes(BLOCK):
            raise ValueError("truncated: the mark of its end is missing")


def _label(name: str, content: bytes) -> int | None:
    """The label in a file of an example. Raises ConfigError unless it is a whole number, or if there may be none."""
    try:
        fields = {"label": _number(content.decode())} if name.lower().endswith(CLASS) else json.loads(content)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be read ({one_line(error)}); replace it") from error
    label = fields.get("label") if isinstance(fields, dict) else None
    if label is not None and (type(label) is not int or not 0 <= label < 2**31):
        raise ConfigError(
            f"expected a whole number from 0 as label, but {name} has {str(label)[:40]!r}; number the classes"
        )
    return label


def _number(text: str) -> int | str:
    """The whole number in a file, or else its text."""
    return int(text) if text.isascii() and text.strip().isdigit() else text
