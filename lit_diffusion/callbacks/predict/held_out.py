"""The real images that a prediction starts from, and the arrays that it writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from torch import Tensor

from lit_diffusion.callbacks.lookup import data_of
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


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Writes arrays to an NPZ file by name; images (*, C, H, W) become (*, H, W, C)."""
    channels_last: dict[str, Any] = {
        name: (array.movedim(-3, -1) if array.ndim > 3 else array).cpu().numpy() for name, array in arrays.items()
    }
    with written_whole(path) as temporary:
        np.savez(temporary, **channels_last)
