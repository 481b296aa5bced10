"""The labels that a model with labels gets for its samples, and for images of a data set."""

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.lookup import data_of, generative_of
from lit_diffusion.errors import ConfigError


def sample_labels(pl_module: LightningModule, first: int, count: int, classes: Sequence[int] = ()) -> Tensor | None:
    """The labels of samples number first, first + 1, ..: (count,) int64 on the device; None for a model without labels.

    classes: taken in turn, by default all, so that any number of samples is balanced to within one.
    """
    num_classes = generative_of(pl_module).num_classes
    if num_classes is None:
        return None
    turn = torch.tensor(classes or range(num_classes), device=pl_module.device)
    return turn[torch.arange(first, first + count, device=pl_module.device) % len(turn)]


def image_labels(trainer: Trainer, pl_module: LightningModule, split: str, indices: Tensor) -> Tensor | None:
    """The labels of images of a split with these indices (B,), on the device; None for a model without labels."""
    if generative_of(pl_module).num_classes is None:
        return None
    return data_of(trainer).labels(split)[indices].to(pl_module.device)


def class_names(trainer: Trainer, pl_module: LightningModule) -> list[str]:
    """What the model's classes are called; empty for a model without labels."""
    count = generative_of(pl_module).num_classes or 0
    return list(data_of(trainer).class_names or map(str, range(count)))[:count]


def class_numbers(trainer: Trainer, pl_module: LightningModule, classes: Sequence[int | str]) -> list[int]:
    """Classes given as numbers from 0 or by name, as numbers. Raises ConfigError for unknown ones."""
    names = class_names(trainer, pl_module)
    if not names:
        raise ConfigError("classes: expected null for a model without labels; or train one with num_classes")
    numbers = []
    for one in classes:
        if str(one) in names:
            numbers.append(names.index(str(one)))
        elif isinstance(one, int) and 0 <= one < len(names):
            numbers.append(one)
        else:
            raise ConfigError(f"classes: expected 0 to {len(names) - 1} or names ({', '.join(names)}), got {one}")
    return numbers
