"""The labels that a model with labels gets for its samples, and for images of a data set."""

from collections.abc import Sequence
from numbers import Integral

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.lookup import data_of, generative_of
from lit_diffusion.errors import ConfigError


def sample_labels(pl_module: LightningModule, count: int) -> Tensor | None:
    """The labels of `count` samples, (count,) int64 on the device: all classes in turn, so that any number is balanced
    to within one; None for a model without labels.
    """
    num_classes = generative_of(pl_module).num_classes
    return None if num_classes is None else in_turn(range(num_classes), count, pl_module.device)


def in_turn(classes: Sequence[int], count: int, device: torch.device) -> Tensor:
    """The first `count` of classes repeated in turn, (count,) int64.

    >>> in_turn([3, 7], 5, torch.device("cpu"))
    tensor([3, 7, 3, 7, 3])
    """
    return torch.tensor(list(classes), device=device).repeat(-(-count // len(classes)))[:count]


def image_labels(trainer: Trainer, pl_module: LightningModule, split: str, indices: Tensor) -> Tensor | None:
    """The labels of images of a split with these indices (B,), on the device; None for a model without labels."""
    if generative_of(pl_module).num_classes is None:
        return None
    return data_of(trainer).labels(split)[indices].to(pl_module.device)


def class_names(trainer: Trainer, num_classes: int | None) -> list[str]:
    """What `num_classes` classes of the data are called; empty for None."""
    return list(data_of(trainer).class_names or map(str, range(num_classes or 0)))[: num_classes or 0]


def class_numbers(classes: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Classes given by name or as numbers from 0, as numbers: names first, which may look like numbers.

    Raises ConfigError for unknown ones.

    >>> class_numbers([2, "hat"], ["coat", "hat", "shoe"])
    [2, 1]
    >>> class_numbers([2], ["1", "2", "3"])  # the class that is called 2
    [1]
    """
    if classes and not names:
        raise ConfigError("classes: expected none, as the model takes no labels; train one with num_classes")
    numbers = []
    for one in classes:
        if str(one) in names:
            numbers.append(names.index(str(one)))
        elif isinstance(one, Integral) and 0 <= one < len(names):
            numbers.append(int(one))
        else:
            known = f"names ({', '.join(names)}) or else numbers 0 to {len(names) - 1}"
            raise ConfigError(f"classes: expected {known}, got {one}")
    return numbers
