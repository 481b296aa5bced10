"""NPY and NPZ files of arrays of levels."""

import os
from functools import partial
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.data.npz_file import map_array, read_array
from lit_diffusion.data.sources.image_source import ImageSource
from lit_diffusion.data.sources.per_process import PerProcess
from lit_diffusion.errors import ConfigError, one_line

IMAGES = ("arr_0", "images", "x", "x_train")  # names of the array of images in NPZ files
LABELS = ("labels", "y", "y_train", "arr_1")
EXPECTED = "uint8 or uint16 of shape (N, H, W) or (N, H, W, C)"


class ArraySource(ImageSource):
    """The images of an array of shape (N, H, W) or (N, H, W, C), uint8 or uint16.

    An NPY file is mapped into memory, and only the images that are read are loaded; an NPZ file is read whole, with its
    labels if it has an array of whole numbers, one for each image, named `labels`, `y` or `arr_1`.
    argument: the setting that gives the file. with_labels: whether to read them. Raises ConfigError if the file is
    damaged, or has another array.
    """

    def __init__(self, argument: str, root: str, with_labels: bool = True):
        self.root, self.files = root, [root]
        path = Path(root)
        try:
            if path.is_file() and is_zipfile(path):
                with ZipFile(path) as archive:
                    names = {name.removesuffix(".npy") for name in archive.namelist()}
                found = [name for name in IMAGES if name in names]
                if len(found) != 1:
                    raise ValueError(f"expected one array named {', '.join(IMAGES)}, found {', '.join(sorted(names))}")
                array, label = read_array(path, found[0]), next((name for name in LABELS if name in names), None)
                self._array = PerProcess(partial(np.asarray, array))
            else:
                array, label = map_array(path), None
                self._array = PerProcess(partial(map_array, path))
            if array.dtype.kind != "u" or array.dtype.itemsize > 2 or array.ndim not in (3, 4) or not array.size:
                raise ValueError(f"expected {EXPECTED}, got {array.dtype} of {array.shape}")
            if array.ndim == 4 and array.shape[3] > 4 >= array.shape[1]:
                raise ValueError(f"expected channels last, {EXPECTED}; got {array.shape}; transpose it")
            if label and with_labels:
                self.labels = _checked_labels(label, read_array(path, label), len(array))
        except ConfigError as error:
            raise ConfigError(f"{argument}: {root}: {error}") from error
        except Exception as error:  # zip, zlib and numpy raise different kinds
            raise ConfigError(
                f"{argument}: {root}: cannot be read as images ({one_line(error) or type(error).__name__}); use an NPY "
                f"or NPZ file of {EXPECTED}"
            ) from error
        self._count = len(array)

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return str(index)

    def where(self, index: int) -> str:
        return f"{os.fspath(self.root)}: image {index}"

    def read(self, index: int) -> np.ndarray:
        levels = self._array()[index]
        return levels.astype(levels.dtype.newbyteorder("="))

    def whole(self) -> np.ndarray:
        """All images as they are in the file, (N, H, W) or (N, H, W, C)."""
        return self._array()


def _checked_labels(name: str, labels: np.ndarray, count: int) -> Tensor:
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise ConfigError(
            f"expected {count} whole numbers as labels in the array {name}, got {labels.dtype} of {labels.shape}; "
            "number the classes, one for each image"
        )
    if labels.min() < 0 or labels.max() >= 2**31:
        raise ConfigError(
            f"expected labels 0 to {2**31 - 1} in the array {name}, got {labels.min()} to {labels.max()}; number the "
            "classes from 0"
        )
    return torch.from_numpy(labels.astype(np.int64))
