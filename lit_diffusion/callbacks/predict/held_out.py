"""The real images that a prediction starts from, and the arrays that it leaves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import written_whole


def check_split(trainer: Trainer, split: str, count: int) -> None:
    """Raises ConfigError unless the data has a split of that name, of at least `count` images."""
    sizes = trainer.datamodule.sizes
    if split not in sizes:
        raise ConfigError(f"split: there is no {split}; write one of {', '.join(sizes)}")
    if sizes[split] < count:
        others = [f"{other} ({size})" for other, size in sizes.items() if size >= count]
        instead = f"write {' or '.join(others)}" if others else "ask for fewer"
        raise ConfigError(f"split: {split} holds {sizes[split]} images where {count} or more are needed; {instead}")


def first_images(trainer: Trainer, split: str, count: int) -> Tensor:
    """The first images of a split, at most `count`: (B, C, H, W) in [-1, 1] on the device."""
    data = trainer.datamodule
    return next(data.batches(split, [torch.arange(min(count, data.sizes[split]))]))


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """An NPZ of arrays by name; images (*, C, H, W) become (*, H, W, C)."""
    channels_last = {name: array.movedim(-3, -1) if array.ndim > 3 else array for name, array in arrays.items()}
    with written_whole(path) as temporary:
        np.savez(temporary, **{name: array.cpu().numpy() for name, array in channels_last.items()})
