"""Any number of samples, as files that evaluators read and people look at."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor

from lit_diffusion import pictures
from lit_diffusion.callbacks.grids import columns_of
from lit_diffusion.callbacks.predict.base import Prediction
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import describe_samples, gather_blocks, sample_blocks
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_float

IN_GRID = 100


class Samples(Prediction):
    """`num_samples` samples of 8 bits, `batch_size` at once on each device, by `sampler` or else the model's own.

    `samples.npz` holds all of them as `arr_0`, (N, H, W, 3) uint8, the layout of the evaluators of guided-diffusion,
    which feed it to Inception as it is: grey images are repeated in the three channels. `samples/000000.png` and so on
    are the same images one by one, grey ones in one channel; `grid.png` shows the first hundred; `samples.json` says
    how they were drawn. All replace those of an earlier run at once, when the last sample is drawn. Other batch sizes
    draw other samples.
    """

    def __init__(self, num_samples: int = 64, batch_size: int = 64, sampler: Sampler | None = None):
        for name, value in (("num_samples", num_samples), ("batch_size", batch_size)):
            if value < 1:
                raise ConfigError(f"{name}: {value} are no images; write 1 or more")
        self.num_samples, self.batch_size, self.sampler = num_samples, batch_size, sampler

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        (self.sampler or pl_module.sampler).check_model(pl_module.reverse)

    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count, batch = self.num_samples, self.batch_size
        folder = self.folder(trainer)
        with task(trainer, "sampling", count, "images") as advance:
            own = sample_blocks(trainer, pl_module, self.sampler or pl_module.sampler, count, batch, advance)
            images = gather_blocks(trainer, own, count, batch)
            if trainer.is_global_zero:
                how = describe_samples(trainer, pl_module, self.sampler or pl_module.sampler, batch)
                how = {"samples": count, **how, "checkpoint": str(trainer.ckpt_path)}
                write(folder, images, count, trainer.datamodule.image_shape, how)
            for _ in images:  # other ranks draw and send
                pass
        say(trainer, f"{count} samples: {folder}/samples.npz, grid.png and samples/{names(count)}")


def write(
    folder: Path, blocks: Iterable[Tensor], count: int, image_shape: tuple[int, int, int], how: dict[str, Any]
) -> None:
    """`count` images, which come in order in blocks (B, C, H, W) uint8, as NPZ, PNGs and grid; and `how`, as JSON.

    No more than a block and the grid is in memory. All is written to a hidden folder and moved when the last image is
    there, so that the files of two runs never mix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (*image_shape[1:], 3)
    with TemporaryDirectory(prefix=".samples-", dir=folder) as hidden:
        new, shown, first = Path(hidden), [], 0
        (new / "samples").mkdir()
        (new / "samples.json").write_text(json.dumps(how, indent=2) + "\n")
        member = ZipInfo("arr_0.npy")  # dated 1980 unless told otherwise: the same images make the same file
        with ZipFile(new / "samples.npz", "w") as archive, archive.open(member, "w", force_zip64=True) as array:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
            np.lib.format.write_array_header_1_0(array, header)
            for levels in blocks:
                images = levels.permute(0, 2, 3, 1).numpy()
                array.write(np.broadcast_to(images, (len(images), *shape)).tobytes())
                for number, image in enumerate(images, first):
                    Image.fromarray(image[..., 0] if len(levels[0]) == 1 else image).save(
                        new / "samples" / name(number)
                    )
                if first < IN_GRID:
                    shown.append(levels[: IN_GRID - first])
                first += len(images)
        in_grid = to_float(torch.cat(shown), 256)
        pictures.grid(in_grid, columns_of(len(in_grid))).save(new / "grid.png")
        shutil.rmtree(folder / "samples", ignore_errors=True)
        for path in new.iterdir():
            path.replace(folder / path.name)


def name(number: int) -> str:
    """File of an image."""
    return f"{number:06d}.png"


def names(count: int) -> str:
    """Files of the images 0..count-1, for people."""
    return name(0) if count == 1 else f"{name(0)} .. {name(count - 1)}"
