"""A ZIP archive of image files, with labels in dataset.json as EDM's dataset_tool writes them."""

import json
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from functools import partial
from os.path import splitext
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import torch

from lit_diffusion.data.image_listing import SUFFIXES, Listing
from lit_diffusion.data.sources.image_source import MOST_BYTES, ImageSource
from lit_diffusion.data.sources.name_list import NameList
from lit_diffusion.data.sources.per_process import PerProcess
from lit_diffusion.errors import ConfigError, one_line

LABELS = "dataset.json"
MOST_LABELS = 2**28  # bytes
ENCRYPTED = 1  # flag
LOCAL_HEADER = struct.Struct("<4s22xHH")


class ZipSource(ImageSource):
    """The images in a ZIP archive, sorted by name, read from it without unpacking.

    argument: the setting that gives the archive, for errors. listing: its images, and what else it holds.
    Raises ConfigError if it is damaged, has two files of one name, or names that lead out of a folder.
    """

    def __init__(self, argument: str, root: str):
        self.root, self.files = root, [root]
        try:
            with ZipFile(root) as archive:
                infos = archive.infolist()
                listed = {info.filename: info for info in infos if not info.is_dir()}
                _check_names(listed, len([info for info in infos if not info.is_dir()]))
                names = sorted(name for name in listed if not _is_hidden(name))
                images = [name for name in names if name.lower().endswith(SUFFIXES)]
                for name in images:
                    _check_member(listed[name])
                others = Counter(splitext(name)[1].lower() for name in {*names} - {*images} - {LABELS})
                if LABELS in listed:
                    _check_member(listed[LABELS], MOST_LABELS)
                table = archive.read(LABELS) if LABELS in listed else b"{}"
        except Exception as error:  # zipfile raises many kinds
            raise ConfigError(
                f"{argument}: {root}: cannot be read as a ZIP archive ({one_line(error) or type(error).__name__}); "
                "repair it, or make it again"
            ) from error
        if not images:
            raise ConfigError(
                f"{argument}: no image in {root!r}; use an archive of files ending in {', '.join(SUFFIXES)}"
            )
        self.names, self.listing = NameList(images), Listing(images, others)
        self.labels = _labels(table, images, f"{argument}: {root}/{LABELS}")
        chosen = [listed[name] for name in images]
        self._places = np.array(
            [(i.header_offset, i.compress_size, i.file_size, i.CRC, i.compress_type) for i in chosen], dtype=np.int64
        )
        self._file: PerProcess[BinaryIO] = PerProcess(partial(open_file, root))

    def note(self, argument: str) -> str | None:
        return self.listing.note(argument)

    def read(self, index: int) -> bytes:
        offset, stored, size, crc, method = self._places[index].tolist()
        content = _stored(self._file(), offset, stored)
        if method == ZIP_DEFLATED:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            content = inflate.decompress(content, size + 1)
        if len(content) != size:
            raise ValueError(
                f"the archive says {size:,} bytes, but there are {'more' if len(content) > size else 'less'}"
            )
        if zlib.crc32(content) != crc:
            raise ValueError("its checksum is wrong")
        return content


def open_file(path: str) -> BinaryIO:
    return open(path, "rb")


def _stored(file: BinaryIO, offset: int, size: int) -> bytes:
    """The bytes of a member as they are stored, after its header and name."""
    file.seek(offset)
    signature, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    if signature != b"PK\3\4":
        raise ValueError("it is not where the archive's directory says")
    file.seek(name_length + extra_length, 1)
    return file.read(size)


def _is_hidden(name: str) -> bool:
    """Whether a file is one of the system's, as in folders."""
    return name.startswith("__MACOSX/") or any(part.startswith(".") for part in name.split("/"))


def _check_names(listed: Mapping[str, ZipInfo], count: int) -> None:
    for name in listed:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise ValueError(f"{name} leads out of the folder")
    if len(listed) != count:
        raise ValueError(f"{count - len(listed)} files have the names of others")


def _check_member(info: ZipInfo, most: int = MOST_BYTES) -> None:
    """Raises ValueError for a member that cannot be read, or that is larger than any of its kind."""
    if info.flag_bits & ENCRYPTED:
        raise ValueError(f"{info.filename} is encrypted")
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed by a method other than deflate")
    if max(info.file_size, info.compress_size) > most:
        raise ValueError(f"{info.filename} has more than {most:,} bytes")


def _labels(table: bytes, names: list[str], where: str) -> torch.Tensor | None:
    """Of a dataset.json: {"labels": [[name, class], ...]} for every image and no other file, or null."""
    try:
        pairs: Any = json.loads(table).get("labels")
        if pairs is None:
            return None
        by_name = dict[str, int]()
        for name, label in pairs:
            if type(label) is not int or not 0 <= label < 2**31:
                raise ValueError(f"expected whole numbers as labels, got {str(label)[:40]}")
            if by_name.setdefault(name, label) != label:
                raise ValueError(f"{name} has the classes {by_name[name]} and {label}")
        if missing := [name for name in names if name not in by_name]:
            raise ValueError(f"images without one: {len(missing)}, such as {missing[0]}")
        if len(by_name) > len(names):
            extra = next(iter(by_name.keys() - {*names}))
            raise ValueError(f"names of images that are not there: {len(by_name) - len(names)}, such as {extra}")
        return torch.tensor([by_name[name] for name in names])
    except Exception as error:  # JSON of any shape
        raise ConfigError(
            f"{where}: cannot be read as labels ({one_line(error) or type(error).__name__}); expected "
            '{"labels": [[name, class], ...]}'
        ) from error
