"""Any folder tree of images, of any size and shape: LSUN, CelebA-HQ, or other images."""

import os
import sys
from collections.abc import Mapping
from heapq import nsmallest

from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.data.image_data import ImageData, check_channels
from lit_diffusion.data.image_files import FileStore
from lit_diffusion.data.image_listing import list_images
from lit_diffusion.data.store import ImageStore, MemoryStore
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.seeding import derive_seed


class ImageFolder(ImageData):
    """All images below a folder, centre-cropped to squares and resized to size x size, 256 levels, without labels.

    test_root: another folder, used as test split; or num_test: how many images of root are set aside for it, those
    whose relative paths have the lowest hashes, so that the choice does not depend on the seed and changes little when
    images are added. Without either there is no test split (CelebA-HQ and LSUN in Ho et al. 2020, code). channels: 3
    for RGB, 1 for grey.

    If all resized images take at most cache_bytes, every process decodes them into memory before training begins, and
    broken files are found then. Otherwise num_workers processes per device decode them on demand, by default the
    device's share of the processor's cores, at most 8. Hidden files are skipped unless visible links lead
    to them; files that are not named as images are left out and counted.
    """

    num_levels = 256

    def __init__(
        self,
        root: str,
        size: int,
        batch_size: int,
        eval_batch_size: int | None = None,
        flip: bool = False,
        seed: int | None = None,
        test_root: str | None = None,
        num_test: int = 0,
        channels: int = 3,
        num_workers: int | None = None,
        cache_bytes: int = 2**30,
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed)
        check_at_least(1, size=size)
        check_channels(channels)
        check_at_least(0, num_test=num_test, num_workers=num_workers, cache_bytes=cache_bytes)
        if test_root is not None and num_test:
            raise ConfigError("test_root: num_test already sets images of root aside; use only one of the two")
        self.image_shape = (channels, size, size)
        self.root, self.num_test = os.path.expanduser(root), num_test
        self.test_root = None if test_root is None else os.path.expanduser(test_root)
        self.num_workers, self.cache_bytes = num_workers, cache_bytes

    def read(self) -> Mapping[str, ImageStore]:
        train = self._list("root", self.root)
        if self.test_root is not None:
            test = self._files("test_root", self.test_root, self._list("test_root", self.test_root))
        else:
            train, aside = set_aside(train, self.num_test)
            test = self._files("root", self.root, aside)
        stores = {"train": self._files("root", self.root, train), "test": test}
        channels, height, width = self.image_shape
        if sum(map(len, stores.values())) * channels * height * width > self.cache_bytes:
            return stores
        return {split: MemoryStore(files.decode_all()) for split, files in stores.items()}

    def examples_of(self, split: str, count: int) -> Tensor:
        """Images evenly spread over the sorted paths, and so over folders of classes."""
        first = super().examples_of(split, count)
        return first * len(self.store(split)) // max(1, len(first))

    @staticmethod
    def _list(argument: str, root: str) -> list[str]:
        """The images below root; says on standard error how many files are left out."""
        found = list_images(root, argument)
        if note := found.note(f"data.{argument}"):
            rank_zero_only(print)(note, file=sys.stderr)
        return found.paths

    def _files(self, argument: str, root: str, paths: list[str]) -> FileStore:
        channels, size, _ = self.image_shape
        workers = self.num_workers
        if workers is None:
            devices = 1 if self.trainer is None else self.trainer.num_devices
            workers = min(8, max(1, _num_cores() // devices))
        return FileStore(argument, root, paths, size, channels, workers)


def set_aside(paths: list[str], num_test: int) -> tuple[list[str], list[str]]:
    """Paths of training and test images, both sorted. Raises ConfigError if none would be left to train on."""
    if num_test >= len(paths):
        raise ConfigError(f"num_test: expected less than {len(paths)}, the number of images; got {num_test}")
    test = set(nsmallest(num_test, paths, key=lambda path: derive_seed("test", path)))
    return [path for path in paths if path not in test], sorted(test)


def _num_cores() -> int:
    """Cores that this process may use, or, if the system does not say, all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
