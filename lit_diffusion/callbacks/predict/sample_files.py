"""Samples as files: an NPZ file of their values, a picture, and images one by one."""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.pixels import to_float, to_levels
from lit_diffusion.visualization import examples
from lit_diffusion.visualization.images import ALPHA, visible

IN_GRID, IN_PLOT = 100, 5000  # images shown; points or sequences shown


class SampleForm(ABC):
    """How samples x_0 (B, *) are stored in `samples.npz`. shape: (*); extent: pictures show values -extent..extent."""

    dtype: np.dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...], extent: float):
        self.shape, self.extent = shape, extent

    @property
    def images(self) -> bool:
        """Whether each sample is an image."""
        return len(self.shape) == 3

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Shape of an example in the file."""
        return self.shape

    @abstractmethod
    def convert(self, x_0: Tensor) -> Tensor:
        """What is stored of samples, (B, *)."""

    @abstractmethod
    def values(self, converted: Tensor) -> Tensor:
        """The values of stored samples as float32, (B, *)."""

    def array(self, converted: Tensor) -> np.ndarray:
        """Stored samples in the layout of the file, (B, *array_shape)."""
        return converted.numpy()


class Levels(SampleForm):
    """Sequences of levels, such as bits: uint8."""

    def __init__(self, shape: tuple[int, ...], extent: float, num_levels: int):
        super().__init__(shape, extent)
        self.num_levels = num_levels

    def convert(self, x_0: Tensor) -> Tensor:
        return to_levels(x_0, self.num_levels)

    def values(self, converted: Tensor) -> Tensor:
        return to_float(converted, self.num_levels)


class EightBits(Levels):
    """Images with levels: (H, W, 3) uint8, the layout of the evaluators of guided-diffusion, which pass it to Inception
    unchanged; grey images are repeated in the three channels. Images of C other channels are (H, W, C).
    """

    @property
    def array_shape(self) -> tuple[int, ...]:
        return *self.shape[1:], 3 if self.shape[0] == 1 else self.shape[0]

    def array(self, converted: Tensor) -> np.ndarray:
        return np.broadcast_to(converted.permute(0, 2, 3, 1).numpy(), (len(converted), *self.array_shape))


class SixteenBits(Levels):
    """Images with more than 256 levels: (H, W, C) uint16, which no evaluator reads; the PNG files have 8 bits."""

    dtype = np.dtype(np.uint16)

    @property
    def array_shape(self) -> tuple[int, ...]:
        return *self.shape[1:], self.shape[0]

    def array(self, converted: Tensor) -> np.ndarray:
        return converted.movedim(1, -1).numpy().astype(np.uint16)


class RealValues(SampleForm):
    """Everything else, in the user's units: float32, channels of images last. restore: to these units."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...], extent: float, restore: Callable[[Tensor], Tensor]):
        super().__init__(shape, extent)
        self.restore = restore

    @property
    def array_shape(self) -> tuple[int, ...]:
        return (*self.shape[1:], self.shape[0]) if self.images else self.shape

    def convert(self, x_0: Tensor) -> Tensor:
        return x_0.float()

    def values(self, converted: Tensor) -> Tensor:
        return converted

    def array(self, converted: Tensor) -> np.ndarray:
        values = self.restore(converted)
        return (values.movedim(1, -1) if self.images else values).numpy()


def form_of(data: ImageData) -> SampleForm:
    """The form for samples of these data."""
    if data.num_levels is None:
        return RealValues(data.image_shape, data.extent, data.restore)
    if data.num_levels > 256:
        return SixteenBits(data.image_shape, data.extent, data.num_levels)
    if len(data.image_shape) == 3:
        return EightBits(data.image_shape, data.extent, num_levels=256)
    return Levels(data.image_shape, data.extent, data.num_levels)


def write(
    folder: Path,
    blocks: Iterable[Tensor],
    count: int,
    form: SampleForm,
    protocol: dict[str, Any],
    labels: Tensor | None = None,
    rows: Sequence[str] = (),
) -> None:
    """Writes `count` samples as NPZ and picture, images also as PNGs, and `protocol` as JSON.

    labels: (count,), also written; rows: of the picture, see `examples.grid`.

    blocks: the samples in order, as converted by `form`. At most one block and the picture are in memory. All files are
    written to a hidden folder and moved when the last sample is there, so that the files of two runs never mix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".samples-", dir=folder) as hidden:
        new, shown, first = Path(hidden), list[Tensor](), 0
        (new / "samples.json").write_text(json.dumps(protocol, indent=2) + "\n")
        if form.images:
            (new / "samples").mkdir()
        member = ZipInfo("arr_0.npy")  # dated 1980 by default, so that equal samples make equal files
        with ZipFile(new / "samples.npz", "w") as archive, archive.open(member, "w", force_zip64=True) as array:
            header = {"descr": form.dtype.str, "fortran_order": False, "shape": (count, *form.array_shape)}
            np.lib.format.write_array_header_1_0(array, header)
            for block in blocks:
                array.write(np.ascontiguousarray(form.array(block)).tobytes())
                if form.images:
                    write_pngs(new / "samples", first, form.values(block) / form.extent)
                most = IN_GRID if form.images else IN_PLOT
                if first < most:
                    shown.append(block[: most - first])
                first += len(block)
        if labels is not None:
            with ZipFile(new / "samples.npz", "a") as archive, archive.open(ZipInfo("arr_1.npy"), "w") as array:
                np.lib.format.write_array(array, labels.cpu().numpy())
        examples.grid(form.values(torch.cat(shown)), form.extent, rows).save(new / "grid.png")
        shutil.rmtree(folder / "samples", ignore_errors=True)
        for path in new.iterdir():
            path.replace(folder / path.name)


def write_pngs(folder: Path, first: int, x: Tensor) -> None:
    """Writes images (B, C, H, W) in [-1, 1], numbered from `first` on, in 8 bits: grey or RGB, each with or without
    alpha; those of more channels as `visible` shows them.
    """
    shown = x if x.shape[1] in ALPHA else visible(x)
    for number, image in enumerate(to_levels(shown, 256).permute(0, 2, 3, 1).numpy(), first):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / name(number))


def name(number: int) -> str:
    """File name of an image."""
    return f"{number:06d}.png"


def names(count: int) -> str:
    """File names of the images 0..count-1, as shown in the terminal."""
    return name(0) if count == 1 else f"{name(0)} .. {name(count - 1)}"
