"""WebDataset shards: tar archives in which the files of one example follow one another and share a name."""

import json
import os
import tarfile
from collections.abc import Iterator
from typing import IO

import numpy as np
import torch

from lit_diffusion.data.image_listing import SUFFIXES
from lit_diffusion.data.sources.image_source import ImageSource, check_length
from lit_diffusion.data.sources.name_list import NameList
from lit_diffusion.data.sources.per_process import PerProcess
from lit_diffusion.data.sources.shards import find_shards
from lit_diffusion.errors import ConfigError, one_line

BLOCK = 512  # bytes; a block of zeros ends an archive
CLASS, FIELDS = ".cls", ".json"  # files with the label of an example: a number; an object that may have a `label`
MOST_LABEL = 2**20  # bytes


class TarSource(ImageSource):
    """The images of tar archives in their order, read at once from the places that one walk over the archives finds.

    Labels are those of .cls files, or the `label` of .json files, if every example has one.
    argument: the setting that gives root, a file, folder or pattern. Raises ConfigError if an archive is damaged, or an
    example has several images.
    """

    def __init__(self, argument: str, root: str):
        self.root, self.files = root, find_shards(argument, root, [".tar"])
        names, places, labels = list[str](), list[tuple[int, int, int]](), list[int | None]()
        for shard, path in enumerate(self.files):
            try:
                for name, offset, size, label in _examples(path):
                    names.append(f"{os.path.basename(path)}/{name}")
                    places.append((shard, offset, size))
                    labels.append(label)
            except Exception as error:  # tarfile and json raise several kinds
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
        return os.path.join(os.path.dirname(self.files[0]), self.name(index))

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
    """Each example of a shard: the name of its image, where the content begins, its length, and its label."""
    key, image, label = "", None, None
    for name, offset, size, content in _members(path):
        folder, _, base = name.rpartition("/")
        start, _, end = base.partition(".")
        if (folder + "/" + start) != key:
            if image:
                yield *image, label
            key, image, label = folder + "/" + start, None, None
        if f".{end}".lower().endswith(SUFFIXES):
            if image:
                raise ValueError(f"{name} and {image[0]} are images of one example")
            check_length(size)
            image = (name, offset, size)
        elif content is not None:
            label = _label(name, content) if label is None else label
    if image:
        yield *image, label


def _members(path: str) -> Iterator[tuple[str, int, int, bytes | None]]:
    """Each file in an archive: its name, where it begins, its length, and the content of one that may have a label."""
    length = os.path.getsize(path)
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
                raise ValueError(f"{member.name} is not a regular file")
            if member.name.startswith("/") or ".." in member.name.split("/"):
                raise ValueError(f"{member.name} leads out of the folder")
            is_label = member.name.endswith((CLASS, FIELDS)) and member.size <= MOST_LABEL
            content = None
            if is_label:
                file.seek(member.offset_data)
                content = file.read(member.size)
            yield member.name, member.offset_data, member.size, content
        file.seek(end)
        if file.read(BLOCK) != bytes(BLOCK):
            raise ValueError("truncated: the mark of its end is missing")


def _label(name: str, content: bytes) -> int | None:
    if name.endswith(CLASS):
        label: object = int(content)
    else:
        fields = json.loads(content)
        label = fields.get("label") if isinstance(fields, dict) else None
    if label is None:
        return None
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < 2**31:
        raise ValueError(f"expected a whole number as label, but {name} has {str(label)[:40]}")
    return label
