"""Distributions of the forward and reverse processes: element-wise, in nats."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Distribution(ABC):
    """What processes and reverse models return, and bound, objectives and samplers use: (B, *), element-wise, in nats.

    mean: (B, *).
    """

    mean: Tensor

    @staticmethod
    @abstractmethod
    def noise(uniform: Tensor) -> Tensor:
        """What `reparameterize` takes, (*), of uniform numbers in [0, 1), (*)."""

    @staticmethod
    @abstractmethod
    def draw_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw of it, of the shape, type and device of `like`, from `generator` or else from torch's global one."""

    @abstractmethod
    def reparameterize(self, noise: Tensor) -> Tensor:
        """The draw (B, *) that a noise (B, *) stands for."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw (B, *), from `generator` or else from torch's global one."""
        return self.reparameterize(self.draw_noise(self.mean, generator))

    @abstractmethod
    def outcome(self, generator: torch.Generator | None = None) -> Tensor:
        """What the last step of a chain ends in, (B, *)."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log density or log probability of x, (B, *)."""

    @abstractmethod
    def kl(self, other: "Distribution") -> Tensor:
        """KL(self, other), (B, *), for two of one kind; infinite where `other` gives no room to `self`."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Entropy, differential for densities; broadcastable against (B, *)."""


class Gaussian(Distribution):
    """A diagonal Gaussian N(mean, variance); a variance of zero, or too small to divide by, is a point mass.

    mean: (B, *); variance: broadcastable against it, usually (B, 1, ..., 1). Every method is element-wise.
    """

    def __init__(self, mean: Tensor, variance: Tensor):
        self.mean = mean
        self.variance = variance

    @staticmethod
    def noise(uniform: Tensor) -> Tensor:
        """The standard normal's quantile, finite at 0: float32 keeps the variance to 1 in 10^6."""
        eps = torch.finfo(uniform.dtype).eps
        return math.sqrt(2) * torch.erfinv(2 * uniform.clamp(eps / 4, 1 - eps / 2) - 1)

    @staticmethod
    def draw_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal."""
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def reparameterize(self, noise: Tensor) -> Tensor:
        """mean + sqrt(variance) * eps, (B, *), for standard normal eps (B, *)."""
        return self.mean + self.variance.sqrt() * noise

    def outcome(self, generator: torch.Generator | None = None) -> Tensor:
        """The mean: a last step adds no noise  (Ho et al. 2020, algorithm 2)."""
        return self.mean

    @property
    def is_point(self) -> Tensor:
        """Where it is a point mass, of the shape of `variance`."""
        return self.variance < torch.finfo(self.variance.dtype).tiny

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at x, (B, *)."""
        spread = ~self.is_point
        variance = torch.where(spread, self.variance, 1)
        density = -0.5 * ((x - self.mean) ** 2 / variance + torch.log(2 * math.pi * variance))
        return torch.where(spread, density, torch.where(x == self.mean, torch.inf, -torch.inf))

    def kl(self, other: Distribution) -> Tensor:
        """KL(self, other), (B, *).

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


class Bernoulli(Distribution):
    """Binary values -1 and 1, the levels of an image of two: P(x = 1) = rate, P(x = -1) = complement.

    rate, complement: (B, *), summing to 1; both are kept, as 1 - rate has no precision left near 1. Every method is
    element-wise.
    """

    def __init__(self, rate: Tensor, complement: Tensor | None = None):
        self.rate = rate
        self.complement = 1 - rate if complement is None else complement

    @property
    def mean(self) -> Tensor:
        """rate - complement, (B, *)."""
        return self.rate - self.complement

    @staticmethod
    def noise(uniform: Tensor) -> Tensor:
        """Uniform numbers themselves."""
        return uniform

    @staticmethod
    def draw_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Uniform on [0, 1)."""
        return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def reparameterize(self, noise: Tensor) -> Tensor:
        """1 where the uniform noise lies below the rate, else -1: (B, *). No gradient reaches the rate."""
        return torch.where(noise < self.rate, 1.0, -1.0).to(noise)

    def outcome(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw: the mean is no binary value."""
        return self.sample(generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability of x in {-1, 1}, (B, *)."""
        p = torch.where(x > 0, self.rate, self.complement)
        return torch.where(p > 0, torch.where(p > 0, p, 1).log(), -torch.inf)

    def kl(self, other: Distribution) -> Tensor:
        """KL(self, other), (B, *); infinite where `other` excludes a value that `self` does not."""
        return relative(self.rate, other.rate) + relative(self.complement, other.complement)

    def entropy(self) -> Tensor:
        """-rate log rate - complement log complement, (B, *)."""
        return torch.special.entr(self.rate) + torch.special.entr(self.complement)


def relative(p: Tensor, q: Tensor) -> Tensor:
    """p log(p / q) - p + q, infinite where q = 0 alone, with gradient zero there.

    The terms of a KL, to which -p + q adds nothing in sum; it is what keeps the precision of nearly equal p and q.
    """
    inside = q > 0
    safe_q = torch.where(inside, q, 1)
    excess = (torch.where(inside, p, 1) - safe_q) / safe_q
    positive = excess > -1
    excess = torch.where(positive, excess, 0)
    terms = safe_q * torch.where(positive, (1 + excess) * torch.log1p(excess) - excess, 1)
    return torch.where(inside, terms, torch.where(p > 0, torch.inf, 0.0))
