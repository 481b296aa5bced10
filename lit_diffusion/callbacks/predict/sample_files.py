"""Samples as files: an NPZ of what they are, a picture, and images one by one."""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_diffusion.callbacks.grids import columns_of
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.pixels import to_float, to_levels
from lit_diffusion.visualization import examples

IN_GRID, IN_PLOT = 100, 5000  # images; points or sequences


class SampleForm(ABC):
    """How samples x_0 (B, *) of some data lie in `samples.npz`. shape: (*); extent: pictures show -extent to extent."""

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...], num_levels: int | None, extent: float):
        self.shape, self.num_levels, self.extent = shape, num_levels, extent

    @property
    def images(self) -> bool:
        """Whether each is a picture of its own."""
        return len(self.shape) == 3

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Of an example in the file."""
        return self.shape

    @abstractmethod
    def kept(self, x_0: Tensor) -> Tensor:
        """What is kept of samples, (B, *)."""

    @abstractmethod
    def values(self, kept: Tensor) -> Tensor:
        """That as float32, (B, *)."""

    def array(self, kept: Tensor) -> np.ndarray:
        """That as it lies in the file, (B, *array_shape)."""
        return kept.numpy()


class EightBits(SampleForm):
    """Images of levels: (H, W, 3) uint8, the layout of the evaluators of guided-diffusion, which feed it to Inception
    as it is; grey ones are repeated in the three channels.
    """

    @property
    def array_shape(self) -> tuple[int, ...]:
        return *self.shape[1:], 3

    def kept(self, x_0: Tensor) -> Tensor:
        return to_levels(x_0, 256)

    def values(self, kept: Tensor) -> Tensor:
        return to_float(kept, 256)

    def array(self, kept: Tensor) -> np.ndarray:
        return np.broadcast_to(kept.permute(0, 2, 3, 1).numpy(), (len(kept), *self.array_shape))


class Levels(SampleForm):
    """Sequences of levels, as bits: uint8."""

    def kept(self, x_0: Tensor) -> Tensor:
        return to_levels(x_0, self.num_levels)

    def values(self, kept: Tensor) -> Tensor:
        return to_float(kept, self.num_levels)


class RealValues(SampleForm):
    """Anything else, as it is: float32, channels of images last."""

    dtype = np.dtype(np.float32)

    @property
    def array_shape(self) -> tuple[int, ...]:
        return (*self.shape[1:], self.shape[0]) if self.images else self.shape

    def kept(self, x_0: Tensor) -> Tensor:
        return x_0.float()

    def values(self, kept: Tensor) -> Tensor:
        return kept

    def array(self, kept: Tensor) -> np.ndarray:
        return (kept.movedim(1, -1) if self.images else kept).numpy()


def form_of(data: ImageData) -> SampleForm:
    """The one for samples of these data."""
    kind = RealValues if data.num_levels is None else EightBits if len(data.image_shape) == 3 else Levels
    return kind(data.image_shape, data.num_levels, data.extent)


def write(folder: Path, blocks: Iterable[Tensor], count: int, form: SampleForm, how: dict[str, Any]) -> None:
    """`count` samples, which come in order in blocks of what `form` keeps, as NPZ and picture, images as PNGs too; and
    `how`, as JSON.

    No more than a block and the picture is in memory. All is written to a hidden folder and moved when the last sample
    is there, so that the files of two runs never mix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".samples-", dir=folder) as hidden:
        new, shown, first = Path(hidden), [], 0
        (new / "samples.json").write_text(json.dumps(how, indent=2) + "\n")
        if form.images:
            (new / "samples").mkdir()
        member = ZipInfo("arr_0.npy")  # dated 1980 unless told otherwise: the same samples make the same file
        with ZipFile(new / "samples.npz", "w") as archive, archive.open(member, "w", force_zip64=True) as array:
            header = {"descr": form.dtype.str, "fortran_order": False, "shape": (count, *form.array_shape)}
            np.lib.format.write_array_header_1_0(array, header)
            for kept in blocks:
                array.write(np.ascontiguousarray(form.array(kept)).tobytes())
                if form.images:
                    write_pngs(new / "samples", first, form.values(kept) / form.extent)
                most = IN_GRID if form.images else IN_PLOT
                if first < most:
                    shown.append(kept[: most - first])
                first += len(kept)
        x = form.values(torch.cat(shown))
        examples.grid(x, columns_of(len(x)), form.extent).save(new / "grid.png")
        shutil.rmtree(folder / "samples", ignore_errors=True)
        for path in new.iterdir():
            path.replace(folder / path.name)


def write_pngs(folder: Path, first: int, x: Tensor) -> None:
    """Images (B, C, H, W) in [-1, 1], numbered from `first` on; grey ones in one channel."""
    for number, image in enumerate(to_levels(x, 256).permute(0, 2, 3, 1).numpy(), first):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / name(number))


def name(number: int) -> str:
    """File of an image."""
    return f"{number:06d}.png"


def names(count: int) -> str:
    """Files of the images 0..count-1, for people."""
    return name(0) if count == 1 else f"{name(0)} .. {name(count - 1)}"
