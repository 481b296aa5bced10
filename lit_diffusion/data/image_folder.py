"""Any folder tree of images, of any size and shape: LSUN, CelebA-HQ, one's own."""

import os
from collections.abc import Iterator, Mapping
from heapq import nsmallest
from pathlib import Path

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.image_files import FileStore
from lit_diffusion.data.store import ImageStore, MemoryStore
from lit_diffusion.errors import ConfigError
from lit_diffusion.seeding import derive_seed

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder(ImageData):
    """All images below a folder, centre-cropped to squares and resized to size x size, 256 levels, without labels.

    test_root: another folder, which is the test split; or num_test: how many images of root are set aside for it,
    those whose relative paths have the lowest hashes, so that the seed has no say and images that are added later
    change little. Without either there is no test split (CelebA-HQ and LSUN in Ho et al. 2020, code). channels: 3 for
    RGB, 1 for grey.

    If all images, once resized, take at most cache_bytes, they are decoded into memory before training begins, in every
    process, and a broken one is found then; else num_workers processes for each device decode them as they are needed,
    by default its share of the processor's cores and at most 8. Hidden files are passed over.
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
        if size < 1:
            raise ConfigError(f"size: {size} pixels make no image; write 1 or more")
        if channels not in (1, 3):
            raise ConfigError(f"channels: images have no {channels} channels; write 3 for RGB or 1 for grey")
        for name, count in (("num_test", num_test), ("num_workers", num_workers or 0), ("cache_bytes", cache_bytes)):
            if count < 0:
                raise ConfigError(f"{name}: {count} is negative; write 0 or more")
        if test_root is not None and num_test:
            raise ConfigError("test_root: num_test already makes a test split out of root; write one of the two")
        self.image_shape = (channels, size, size)
        self.root, self.num_test = os.path.expanduser(root), num_test
        self.test_root = None if test_root is None else os.path.expanduser(test_root)
        self.num_workers, self.cache_bytes = num_workers, cache_bytes

    def read(self) -> Mapping[str, ImageStore]:
        train = list_images(self.root, "root")
        if self.test_root is not None:
            test = self._files("test_root", self.test_root, list_images(self.test_root, "test_root"))
        else:
            train, aside = set_aside(train, self.num_test)
            test = self._files("root", self.root, aside)
        stores = {"train": self._files("root", self.root, train), "test": test}
        channels, height, width = self.image_shape
        if sum(map(len, stores.values())) * channels * height * width > self.cache_bytes:
            return stores
        return {split: MemoryStore(files.decode_all()) for split, files in stores.items()}

    def _files(self, argument: str, root: str, paths: list[str]) -> FileStore:
        channels, size, _ = self.image_shape
        workers = self.num_workers
        if workers is None:
            devices = 1 if self.trainer is None else self.trainer.num_devices
            workers = min(8, max(1, _num_cores() // devices))
        return FileStore(argument, root, paths, size, channels, workers)


def set_aside(paths: list[str], num_test: int) -> tuple[list[str], list[str]]:
    """Paths of training and test images, both sorted; ConfigError where none would be left to train on."""
    if num_test >= len(paths):
        raise ConfigError(
            f"num_test: {num_test} of {len(paths)} images leave none to train on; write less than {len(paths)}"
        )
    test = set(nsmallest(num_test, paths, key=lambda path: derive_seed("test", path)))
    return [path for path in paths if path not in test], sorted(test)


def list_images(root: str, argument: str) -> list[str]:
    """Sorted paths, relative to root, of all images below it. Links within root are passed over: their targets count.

    Raises ConfigError that begins with the name of the `argument` if root is no folder, holds no image, or holds a
    symbolic link that leads out of it or nowhere.
    """
    if not os.path.isdir(root):
        raise ConfigError(f"{argument}: {root!r} is not a folder; write the folder that holds the images")
    paths = sorted(_walk(root, "", Path(root).resolve(), argument))
    if not paths:
        raise ConfigError(
            f"{argument}: no image in {root!r}; write a folder that holds files ending in {', '.join(SUFFIXES)}"
        )
    return paths


def _walk(folder: str, prefix: str, top: Path, argument: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                target = Path(entry.path).resolve()
                if not target.exists() or not target.is_relative_to(top):
                    raise ConfigError(
                        f"{argument}: {entry.path} links to {target}, not within the folder; put a copy in its place"
                    )
            elif entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", top, argument)
            elif entry.name.lower().endswith(SUFFIXES):
                if not entry.is_file():
                    raise ConfigError(f"{argument}: {entry.path} is no regular file; remove it")
                yield prefix + entry.name


def _num_cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
