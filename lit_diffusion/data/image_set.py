"""Images from anywhere, to be scored: a folder, an NPZ file, or a split of a data set."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.data.digits import Digits
from lit_diffusion.data.given_images import levels_of
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.image_decoding import Form
from lit_diffusion.data.image_listing import list_images
from lit_diffusion.data.mnist_sets import MNIST, FashionMNIST
from lit_diffusion.data.source_store import SourceStore
from lit_diffusion.data.sources.array_source import IMAGES, ArraySource
from lit_diffusion.data.sources.find_source import find_source
from lit_diffusion.data.sources.folder_source import FolderSource
from lit_diffusion.data.store import ImageStore, MemoryStore
from lit_diffusion.data.torchvision_sets import CIFAR10
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_float

SETS = {"digits": Digits, "mnist": MNIST, "fashion_mnist": FashionMNIST, "cifar10": CIFAR10}


@dataclass(frozen=True)
class ImageSet:
    """Images of one shape (C, H, W) and number of levels; name: for scores; note: for the user, or None."""

    name: str
    store: ImageStore
    shape: tuple[int, ...]
    num_levels: int | None = 256
    note: str | None = None

    def __len__(self) -> int:
        return len(self.store)

    @property
    def fingerprint(self) -> str:
        """A hash of the images."""
        return f"{self.shape} {self.num_levels} {self.store.fingerprint()}"

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """The images in each (B,) int64 tensor of `indices`: (B, C, H, W) float32 in [-1, 1] on `device`."""
        for levels in self.store.batches(indices, device):
            yield to_float(levels, self.num_levels)


def split_of(data: ImageData, split: str) -> ImageSet:
    """A split of a data set after `setup`."""
    return ImageSet(f"{type(data).__name__}:{split}", data.store(split), data.image_shape, data.num_levels)


def image_set(name: str, images: Tensor) -> ImageSet:
    """Images (N, C, H, W), float32 in [-1, 1] or uint8, under a name. Raises ConfigError for any others."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ConfigError(
            f"{name}: expected images of shape (N, C, H, W) with 1 or 3 channels, got {tuple(images.shape)}"
        )
    levels = levels_of(name, images, 256)
    return ImageSet(name, MemoryStore(levels), tuple(levels.shape[1:]))


def open_images(source: str, channels: int | None = None, root: str | None = None) -> ImageSet:
    """The images of a folder, of an archive, table, NPY or NPZ file, of the shards of a pattern with *, or of a split
    such as "digits:train".

    channels: 1 or 3, to which the files of a folder are decoded, by default 3; for 1, an array of grey images in
    three channels, as evaluators require, is converted to grey. root: the folder of a data set's files. Images are
    neither cropped nor resized. Raises ConfigError if the images cannot be read.
    """
    path = Path(source).expanduser()
    name, colon, split = source.partition(":")
    if (path.exists() or "*" in source) and not _is_npz(path) and (found := find_source("images", path)):
        store = SourceStore("images", found, Form(None, channels or 3), num_workers=2)
        return ImageSet(str(path), store, tuple(store.shape), note=found.note(str(path)))
    if path.is_dir():
        return _folder(path, channels or 3)
    if path.is_file():
        return _array(path, channels)
    if colon and name in SETS and split in ("train", "test"):
        data = SETS[name]() if root is None or name == "digits" else SETS[name](root=root)
        data.prepare_data()
        data.setup()
        return split_of(data, split)
    splits = ", ".join(f"{name}:train" for name in SETS)
    raise ConfigError(f"images not found: {source}; use a folder, an .npz file, or a split, such as {splits}")


def _folder(path: Path, channels: int) -> ImageSet:
    found = list_images(str(path), "images")
    store = SourceStore("images", FolderSource("images", str(path), found.paths), Form(None, channels), num_workers=2)
    return ImageSet(str(path), store, tuple(store.shape), note=found.note(str(path)))


def _is_npz(path: Path) -> bool:
    """Whether a file is an archive with an array of images, whatever its name."""
    if not path.is_file() or not is_zipfile(path):
        return False
    with suppress(BadZipFile, OSError), ZipFile(path) as archive:
        return any(f"{name}.npy" in archive.namelist() for name in IMAGES)
    return False


def _array(path: Path, channels: int | None) -> ImageSet:
    array = ArraySource("images", str(path), with_labels=False).whole()
    if array.ndim == 3 and array.shape[2] in (3, 4):
        raise ConfigError(f"{path}: expected images, got {array.shape}, which looks like one image; use array[None]")
    if array.ndim == 3:
        array = array[..., None]
    if array.shape[-1] not in (1, 3):
        raise ConfigError(f"{path}: expected images of 1 or 3 channels, got {array.shape[-1]}")
    if channels == 1 and (array == array[..., :1]).all():
        array = array[..., :1]
    kind, num_levels = (np.uint8, 256) if array.dtype == np.uint8 else (np.int32, 65536)
    images = torch.from_numpy(array.transpose(0, 3, 1, 2).astype(kind, order="C"))
    return ImageSet(str(path), MemoryStore(images), tuple(images.shape[1:]), num_levels)
