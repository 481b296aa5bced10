"""Class labels as inputs of networks."""

from typing import Any

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError

NO_LABEL = -1  # of examples whose class is not given


class LabelEmbedding(nn.Module):
    """A learned vector for each of `num_classes` classes, and one more for "no label" if `has_null`.

    label: (B,) integers, NO_LABEL or 0..num_classes-1; returns (B, channels). Improved DDPM (Nichol & Dhariwal 2021,
    code) and UNet2DModel have the classes only.
    """

    def __init__(self, num_classes: int, channels: int, has_null: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.table = nn.Embedding(num_classes + has_null, channels)

    def forward(self, label: Tensor) -> Tensor:
        return self.table(torch.where(label == NO_LABEL, self.num_classes, label))


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """(B,) labels as (B, num_classes) float32; all zero for NO_LABEL.

    >>> one_hot(torch.tensor([1, NO_LABEL]), 3)
    tensor([[0., 1., 0.],
            [0., 0., 0.]])
    """
    return nn.functional.one_hot(label + 1, num_classes + 1)[:, 1:].float()


def check_labels(name: str, num_classes: int | None, label_dropout: float) -> None:
    """Raises ConfigError for options of the network class `name` that are out of range."""
    if num_classes is not None and num_classes < 1:
        raise ConfigError(f"{name}.num_classes: expected 1 or more, or null for no labels; got {num_classes}")
    if not 0 <= label_dropout < 1:
        raise ConfigError(f"{name}.label_dropout: expected a number in [0, 1), got {label_dropout}")


def read_labels(network: Any, x: Tensor, label: Tensor | None) -> Tensor:
    """The labels of a call of `network` with examples x (B, *), (B,) integers on its device; none given are NO_LABEL.

    In training, each is dropped, and becomes NO_LABEL, with probability `label_dropout` (Ho & Salimans 2022, algorithm
    1). Raises ConfigError for another number of labels, or if some are missing and none was dropped in training.
    """
    if label is None:
        if not network.label_dropout:
            raise ConfigError(
                f"expected a label for each example, since {type(network).__name__} has label_dropout 0 and so was "
                "never trained without"
            )
        return torch.full((len(x),), NO_LABEL, device=x.device)
    label = torch.as_tensor(label, device=x.device)
    if label.shape != (len(x),):
        raise ConfigError(f"expected one label for each of {len(x)} examples, got shape {tuple(label.shape)}")
    if not (network.training and network.label_dropout):
        return label
    return torch.where(torch.rand(len(x), device=x.device) < network.label_dropout, NO_LABEL, label)
