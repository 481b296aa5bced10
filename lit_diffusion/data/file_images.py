"""The base class of data sets whose images lie in files of the user's, of any size and shape."""

import os
import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from heapq import nsmallest

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.image_decoding import MODES, Form
from lit_diffusion.data.source_store import SourceStore
from lit_diffusion.data.sources.image_source import ImageSource
from lit_diffusion.data.store import ImageStore, MemoryStore
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.seeding import derive_seed

SHOWN_NAMES = 5  # of classes, in an error


class FileImages(ImageData):
    """Images in files, centre-cropped to one shape and resized. A subclass only says how `root` is opened.
    ImageFolder explains size, test_root, num_test, channels, num_workers, cache_bytes and num_levels.
    """

    LEVELS: Sequence[int] = (256, 65536)  # numbers of levels that the format can have

    def __init__(
        self,
        root: str,
        size: int | list[int],
        batch_size: int,
        eval_batch_size: int | None = None,
        flip: bool = False,
        seed: int | None = None,
        test_root: str | None = None,
        num_test: int = 0,
        channels: int = 3,
        num_workers: int | None = None,
        cache_bytes: int = 2**30,
        num_levels: int = 256,
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed)
        if channels not in MODES:
            raise ConfigError(f"channels: expected 1 for grey or 3 for RGB, 2 or 4 with alpha; got {channels}")
        check_at_least(0, num_test=num_test, num_workers=num_workers, cache_bytes=cache_bytes)
        if test_root is not None and num_test:
            raise ConfigError("test_root: num_test already sets images of root aside; use only one of the two")
        if num_levels not in self.LEVELS:
            expected = "2 to 65536" if len(self.LEVELS) > 2 else "256 for 8 bits or 65536 for 16"
            raise ConfigError(f"num_levels: expected {expected}, got {num_levels}")
        self.form = Form(height_and_width(size), channels, num_levels)
        self.image_shape, self.num_levels = (channels, *height_and_width(size)), num_levels
        self.root, self.num_test = os.path.expanduser(root), num_test
        self.test_root = None if test_root is None else os.path.expanduser(test_root)
        self.num_workers, self.cache_bytes = num_workers, cache_bytes

    @abstractmethod
    def source(self, argument: str, root: str) -> ImageSource:
        """The images of `root`, as given by a setting. Raises ConfigError that begins with `argument`, its name."""

    def read(self) -> Mapping[str, ImageStore]:
        source = self.source("root", self.root)
        if self.test_root is not None:
            other = self.source("test_root", self.test_root)
            _check_classes(source, other)
            stores = {"train": self._store("root", source), "test": self._store("test_root", other)}
        else:
            kept, aside = set_aside(source, self.num_test)
            stores = {"train": self._store("root", source, kept), "test": self._store("root", source, aside)}
        self.class_names = source.class_names
        self.label_advice = source.label_advice or self.label_advice
        size = sum(map(len, stores.values())) * torch.Size(self.image_shape).numel() * self.form.dtype.itemsize
        if size > self.cache_bytes:
            return stores
        return {split: MemoryStore(store.decode_all(), store.labels) for split, store in stores.items()}

    def examples_of(self, split: str, count: int) -> Tensor:
        """Images evenly spread over the records, which are often sorted by class."""
        first = super().examples_of(split, count)
        return first * len(self.store(split)) // max(1, len(first))

    def _store(self, argument: str, source: ImageSource, indices: np.ndarray | None = None) -> SourceStore:
        workers = self.num_workers
        if workers is None:
            devices = 1 if self.trainer is None else self.trainer.num_devices
            workers = min(8, max(1, _num_cores() // devices))
        return SourceStore(argument, source, self.form, workers, indices)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Of a setting `size`. Raises ConfigError unless it is a side, or a height and a width."""
    sides = [size, size] if isinstance(size, int) else [*size]
    if len(sides) != 2:
        raise ConfigError(f"size: expected a side or [height, width], got {sides}")
    check_at_least(1, size=min(sides))
    return sides[0], sides[1]


def set_aside(source: ImageSource, num_test: int) -> tuple[np.ndarray, np.ndarray]:
    """Records of training and test images, in order. Raises ConfigError if none would be left to train on."""
    count = len(source)
    if num_test >= count:
        raise ConfigError(f"num_test: expected less than {count}, the number of images; got {num_test}")
    test = (
        nsmallest(num_test, range(count), key=lambda index: derive_seed("test", source.name(index))) if num_test else []
    )
    is_test = np.zeros(count, bool)
    is_test[test] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def say_left_out(note: str | None) -> None:
    """Says on standard error, once, which files are left out."""
    if note:
        rank_zero_only(print)(note, file=sys.stderr)


def _check_classes(train: ImageSource, test: ImageSource) -> None:
    """Raises ConfigError if the labels of two sources mean different classes."""
    if train.class_names != test.class_names:
        here, there = (
            f"{len(names)} ({', '.join(names[:SHOWN_NAMES])}, ..)" if names else "none"
            for names in (test.class_names, train.class_names)
        )
        raise ConfigError(f"test_root: expected the classes of root, {there}; got {here}")
    if train.labels is not None and test.labels is not None and test.labels.max() > train.labels.max():
        most, found = int(train.labels.max()), int(test.labels.max())
        if not train.class_names:
            raise ConfigError(f"test_root: expected labels 0 to {most}, as in root; got {found}")


def _num_cores() -> int:
    """Cores that this process may use, or, if the system does not say, all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
