"""What all formats of images have in common: numbered records, read in any order by any number of processes."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from lit_diffusion.data.sources.name_list import NameList
from lit_diffusion.errors import ConfigError

MOST_BYTES = 2**30  # of one encoded image: more than Pillow's largest image takes without compression


class ImageSource(ABC):
    """Records in a fixed order, each an encoded image or an array of levels.

    root: the file or folder that the user named; names: of the records within it, all different; files: that hold all
    records. labels: (N,) int64 or None; class_names: of the labels 0, 1, ..., if they have names; label_advice: what
    would give labels, if there are none.
    """

    root: str
    names: NameList
    files: Sequence[str] = ()
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    label_advice: str | None = None

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """What a record is called, wherever the set lies: which images are set aside depends on it."""
        return self.names[index]

    def where(self, index: int) -> str:
        """The place of a record, with which errors about it begin."""
        return os.path.join(self.root, self.name(index))

    def note(self, argument: str) -> str | None:
        """What the user should know about the choice of records, or None. argument: the setting that gives root."""
        return None

    @abstractmethod
    def read(self, index: int) -> bytes | np.ndarray:
        """The content of an image file, or levels (H, W) or (H, W, C), uint8 or uint16.

        Raises ConfigError that begins with `where(index)` if the record is damaged.
        """

    def marks(self, indices: np.ndarray) -> Iterable[object]:
        """What changes if the records `indices` do, for a fingerprint: names, sizes and times of the files."""
        for path in self.files:
            status = os.stat(path)
            yield os.path.basename(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns
        yield hashlib.sha256(indices.tobytes()).hexdigest()


def read_file(path: str) -> bytes:
    """The content of a file. Raises ValueError if it is not a regular file, or larger than any image."""
    if not os.path.isfile(path):
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    check_length(len(content))
    return content


def check_length(size: int) -> None:
    """Raises ValueError for more bytes than any image has."""
    if size > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")


def require(package: str, user: str, extra: str = "formats") -> Any:
    """An optional package, imported. Raises ConfigError with the command that installs it. user: what needs it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"root: {user} needs the package {package.partition('.')[0]}, which cannot be imported; run pip install "
            f"'lit_diffusion[{extra}]'"
        ) from error
