"""Images in the four files of MNIST's format: a user's own, or those of a published set."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lit_diffusion.data.idx_file import UNREADABLE, read_idx
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError, check_at_least, one_line

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
Files = Mapping[str, Path]  # by NAMES


class MNISTFiles(ImageData):
    """Grey squares of 256 levels with classes, from four files of MNIST's format in the folder `root`.

    Their names are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
    packed (.gz) or not; "test" may stand for "t10k", and ".idx" for "-idx". So KMNIST, EMNIST and notMNIST are
    distributed. prefix: what the names begin with, such as emnist-letters-. size: pixels per side.
    """

    num_levels = 256

    def __init__(
        self,
        root: str,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        flip: bool = False,
        seed: int | None = None,
        size: int = 28,
        prefix: str = "",
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed)
        check_at_least(1, size=size)
        self.image_shape = (1, size, size)
        self.root, self.prefix = os.path.expanduser(root), prefix

    def read(self) -> dict[str, MemoryStore]:
        folder = Path(self.root)
        files = find_files(folder, self.prefix)
        if missing := [name for name in NAMES if name not in files]:
            there = sorted(path.name for path in folder.glob("*-ubyte*"))[:4]
            hint = f"; set prefix if {', '.join(there)} are meant" if there else "; put them there"
            raise ConfigError(
                f"root: expected four files of MNIST's format in {self.root!r}, packed (.gz) or not; missing: "
                f"{', '.join(self.prefix + name for name in missing)}{hint}"
            )
        stores = read_files(files)
        for split, store in stores.items():
            height, width = store.images.shape[2:]
            found = f"{split} images in {self.root!r} have {width}x{height} pixels"
            if height != width:
                raise ConfigError(f"root: expected squares, but {found}; use ImageFolder for other shapes")
            if height != self.image_shape[-1]:
                raise ConfigError(f"size: expected {width}, as {found}, got {self.image_shape[-1]}; set size: {width}")
        return stores


def find_files(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Those of NAMES that are in a folder: unpacked, else packed."""
    found = {}
    for name in NAMES:
        spellings = [name, name.replace("-idx", ".idx")]
        spellings += [one.replace("t10k", "test") for one in spellings if "t10k" in one]
        for one in [*spellings, *(f"{one}.gz" for one in spellings)]:
            if os.path.lexists(path := folder / f"{prefix}{one}"):
                found[name] = path
                break
    return found


def read_files(
    files: Files, sums: Mapping[str, str] | None = None, repair: str = "replace it"
) -> dict[str, MemoryStore]:
    """The images and labels of both splits, from four files.

    sums: the SHA-256 of their unpacked contents, if known. Raises ConfigError that names the file that is damaged or
    does not belong to the others, and ends in `repair`.
    """
    tensors = {
        name: _read(files[name], 3 if "images" in name else 1, sums[name] if sums else None, repair) for name in NAMES
    }
    stores = {}
    for split, (images, labels) in {"train": NAMES[:2], "test": NAMES[2:]}.items():
        counts = len(tensors[images]), len(tensors[labels])
        if counts[0] != counts[1]:
            raise ConfigError(
                f"root: {files[images]} has {counts[0]} images, but {files[labels]} {counts[1]} labels; use files that "
                "belong together"
            )
        if split == "train" and not counts[0]:
            raise ConfigError(f"root: {files[images]}: expected images, found none; {repair}")
        stores[split] = MemoryStore(tensors[images][:, None], tensors[labels].long())
    return stores


def _read(path: Path, dimensions: int, expected: str | None, repair: str) -> Tensor:
    """The array of a file: (N, H, W) of images, (N,) of labels."""
    try:
        array, digest = read_idx(path)
    except UNREADABLE as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        raise ConfigError(f"root: {path} cannot be read ({reason}); {repair}") from error
    if expected not in (None, digest):
        raise ConfigError(
            f"root: {path}: expected content of SHA-256 {expected}, got {digest}; {repair}; if the files are your "
            f"own, use --data=MNISTFiles --data.root={path.parent}"
        )
    if array.ndim != dimensions:
        raise ConfigError(f"root: {path}: expected {dimensions} dimensions, got {array.ndim}; {repair}")
    return torch.from_numpy(array)
