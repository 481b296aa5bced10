"""Which latents carry information about the examples (Burda et al. 2016, section 5)."""

import torch
from torch import Tensor

ACTIVE_VARIANCE = 0.01


def unit_sums(means: Tensor) -> Tensor:
    """Number, sums and sums of squares of latent means (B, *), each over examples: (3, D) float64, to be added up."""
    means = means.double().flatten(1)
    return torch.stack([torch.full_like(means[0], len(means)), means.sum(0), (means**2).sum(0)])


def active_units(sums: Tensor) -> int:
    """How many of D latents have means whose variance over all examples exceeds 0.01. sums: (3, D) of `unit_sums`.

    >>> active_units(unit_sums(torch.tensor([[-1.0, 0.0], [1.0, 0.1]])))  # variances 1 and 0.0025
    1
    """
    count, total, squares = sums
    return int((squares / count - (total / count) ** 2 > ACTIVE_VARIANCE).sum())
