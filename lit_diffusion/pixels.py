"""Integer levels of an image and the floats that networks see."""

import torch
from torch import Tensor


def to_float(levels: Tensor, num_levels: int | None) -> Tensor:
    """Levels 0..L-1 as float32 in [-1, 1]: x / ((L-1)/2) - 1, which is x/127.5 - 1 for L = 256 (Ho et al. 2020, code).

    levels: (*) integers; returns (*). The darkest and the brightest level are exactly -1 and 1. num_levels: None for
    real values, which are returned as float32.

    >>> to_float(torch.tensor([0, 51, 255]), num_levels=256)
    tensor([-1.0000, -0.6000,  1.0000])
    """
    if num_levels is None:
        return levels.float()
    return levels.to(torch.float32, copy=True).div_((num_levels - 1) / 2).sub_(1)


def to_levels(x: Tensor, num_levels: int) -> Tensor:
    """The nearest of the levels 0..L-1, the inverse of `to_float`; x outside [-1, 1] is clamped first.

    x: (*) finite floats; returns (*), uint8, or int32 for more than 256 levels.

    >>> to_levels(torch.tensor([-1.0, -0.6, 3.0]), num_levels=256)
    tensor([  0,  51, 255], dtype=torch.uint8)
    """
    levels = x.float().add(1).mul_((num_levels - 1) / 2).round_().clamp_(0, num_levels - 1)
    return levels.to(torch.uint8 if num_levels <= 256 else torch.int32)
