"""The real images that a prediction starts from, and the arrays that it writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.class_labels import image_labels
from lit_diffusion.callbacks.lookup import data_of, diffusion_of
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import written_whole


def check_split(trainer: Trainer, split: str, count: int) -> None:
    """Raises ConfigError unless the data have a split of that name with at least `count` images."""
    sizes = data_of(trainer).sizes
    if split not in sizes:
        raise ConfigError(f"split: expected {' or '.join(sizes)}, got {split}")
    if sizes[split] < count:
        others = [f"{other} ({size})" for other, size in sizes.items() if size >= count]
        instead = f"use {' or '.join(others)}" if others else "ask for fewer"
        raise ConfigError(f"split: expected {count} or more images, but {split} holds {sizes[split]}; {instead}")


def some_images(trainer: Trainer, split: str, count: int) -> Tensor:
    """At most `count` images of a split, the first or those that its data set chooses: (B, C, H, W) on the device."""
    data = data_of(trainer)
    return next(data.batches(split, [data.examples_of(split, count)]))


def reverse_of_images(trainer: Trainer, pl_module: LightningModule, split: str, count: int) -> ReverseModel:
    """The model, given the labels of `some_images` if it takes any."""
    chosen = data_of(trainer).examples_of(split, count)
    return diffusion_of(pl_module).reverse.given(image_labels(trainer, pl_module, split, chosen))


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Writes arrays to an NPZ file by name; images (*, C, H, W) become (*, H, W, C)."""
    channels_last: dict[str, Any] = {
        name: (array.movedim(-3, -1) if array.ndim > 3 else array).cpu().numpy() for name, array in arrays.items()
    }
    with written_whole(path) as temporary:
        np.savez(temporary, **channels_last)
