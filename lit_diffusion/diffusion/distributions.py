"""Distributions of the forward and reverse processes: element-wise, in nats."""

import math

import torch
from torch import Tensor


class Gaussian:
    """A diagonal Gaussian N(mean, variance); a variance of zero, or too small to divide by, is a point mass.

    mean: (B, *); variance: broadcastable against it, usually (B, 1, ..., 1). Every method is element-wise.
    """

    def __init__(self, mean: Tensor, variance: Tensor):
        self.mean = mean
        self.variance = variance

    def reparameterize(self, eps: Tensor) -> Tensor:
        """mean + sqrt(variance) * eps, (B, *), for standard normal eps (B, *)."""
        return self.mean + self.variance.sqrt() * eps

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw (B, *), from `generator` or else from torch's global one."""
        mean = self.mean
        return self.reparameterize(torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype))

    @property
    def is_point(self) -> Tensor:
        """Where it is a point mass, of the shape of `variance`."""
        return self.variance < torch.finfo(self.variance.dtype).tiny

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at x in nats, (B, *)."""
        spread = ~self.is_point
        variance = torch.where(spread, self.variance, 1)
        density = -0.5 * ((x - self.mean) ** 2 / variance + torch.log(2 * math.pi * variance))
        return torch.where(spread, density, torch.where(x == self.mean, torch.inf, -torch.inf))

    def kl(self, other: "Gaussian") -> Tensor:
        """KL(self, other) in nats, (B, *).

        Infinite where exactly one of the two is a point mass or where two point masses differ, zero where they agree,
        and with gradient zero in both cases. The ratio of variances is formed once, so that r - 1 - log r keeps its
        precision where the two variances are nearly equal, as they are at most steps of a chain.
        """
        finite = ~self.is_point & ~other.is_point
        other_variance = torch.where(finite, other.variance, 1)
        ratio = torch.where(finite, self.variance, 1) / other_variance
        error = (self.mean - other.mean) ** 2
        kl = 0.5 * (ratio - 1 - torch.log(ratio) + error / other_variance)
        same_point = self.is_point & other.is_point & (error == 0)
        return torch.where(finite, kl, torch.where(same_point, 0, torch.inf))

    def entropy(self) -> Tensor:
        """Differential entropy in nats, of the shape of `variance`; minus infinity for a point mass."""
        return 0.5 * torch.log(2 * math.pi * math.e * self.variance)
