"""The simplest model of data, a baseline for the bound (Sohl-Dickstein et al. 2015, table 1)."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from lit_diffusion.diffusion.bound import sum_per_image
from lit_diffusion.diffusion.decoder import DiscretizedGaussian
from lit_diffusion.diffusion.distributions import Bernoulli, Gaussian


class NullModel:
    """The same Gaussian, or Bernoulli for binary data, for every value: mean and variance of the training data.

    batches: of examples (B, *); num_levels: of the data, None for real values. Levels have the mass of their bins.
    """

    def __init__(self, batches: Iterable[Tensor], num_levels: int | None):
        self.num_levels = num_levels
        sums = torch.zeros(3, dtype=torch.float64)
        for x in batches:
            x = x.cpu().double()
            sums += torch.stack([torch.tensor(float(x.numel()), dtype=torch.float64), x.sum(), (x**2).sum()])
        self.mean = float(sums[1] / sums[0])
        self.variance = float(sums[2] / sums[0]) - self.mean**2

    def nll(self, x_0: Tensor) -> Tensor:
        """-log p(x_0) in nats, (B,)."""
        x = x_0.double()
        if self.num_levels == 2:
            rate = torch.full_like(x, (1 + self.mean) / 2)
            return sum_per_image(-Bernoulli(rate).log_prob(x))
        gaussian = Gaussian(torch.full_like(x, self.mean), torch.full_like(x, self.variance))
        if self.num_levels is None:
            return sum_per_image(-gaussian.log_prob(x))
        return sum_per_image(DiscretizedGaussian(self.num_levels).nll(x, gaussian))


def bits(nats: Tensor) -> Tensor:
    """Nats to bits."""
    return nats / math.log(2)
