"""Distributions of the forward and reverse processes: element-wise, in nats."""

import math
from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor

Same = TypeVar("Same", bound="Distribution")


class Distribution(ABC):
    """What processes and reverse models return, and bound, objectives and samplers use: (B, *), element-wise, in nats.

    A draw is a function of a draw from a fixed base distribution: of standard normal eps for Gaussians, of a number
    uniform on [0, 1) for Bernoulli variables.

    mean: (B, *).
    """

    mean: Tensor

    @staticmethod
    @abstractmethod
    def base_icdf(uniform: Tensor) -> Tensor:
        """The inverse CDF of the base distribution, (*), at numbers in [0, 1), (*)."""

    @staticmethod
    @abstractmethod
    def draw_base(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw from the base distribution with the shape, type and device of `like`.

        generator: by default torch's global one.
        """

    @abstractmethod
    def rsample(self, base: Tensor) -> Tensor:
        """The draw (B, *) that follows from the base distribution's draw (B, *), with gradients if there are any."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw (B, *), from `generator` or by default from torch's global one."""
        return self.rsample(self.draw_base(self.mean, generator))

    @abstractmethod
    def outcome(self, generator: torch.Generator | None = None) -> Tensor:
        """The result of the last step of a chain, (B, *)."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log density or log probability of x, (B, *)."""

    @abstractmethod
    def kl(self: Same, other: Same) -> Tensor:
        """KL(self, other), (B, *), for two of the same class; infinite where `other` excludes what `self` allows."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Entropy, differential for densities; broadcastable against (B, *)."""


class Gaussian(Distribution):
    """A diagonal Gaussian N(mean, variance); a variance of zero, or too small to divide by, is a point mass.

    mean: (B, *); variance: broadcastable against it, usually (B, 1, ..., 1). Every method is element-wise.
    log_variance: its logarithm, in place of the variance, which may then be too small or too large for a float; minus
        infinity is a point mass.

    >>> p, q = Gaussian(torch.tensor([1.0]), torch.tensor([1.0])), Gaussian(torch.tensor([0.0]), torch.tensor([1.0]))
    >>> p.kl(q)  # half the squared distance of the means
    tensor([0.5000])
    """

    def __init__(self, mean: Tensor, variance: Tensor | None = None, *, log_variance: Tensor | None = None):
        self.mean = mean
        self._variance, self._log_variance = variance, log_variance

    @property
    def variance(self) -> Tensor:
        if self._variance is None:
            assert self._log_variance is not None
            self._variance = self._log_variance.exp()
        return self._variance

    def with_mean(self, mean: Tensor) -> "Gaussian":
        """The same variance around another mean (B, *)."""
        return Gaussian(mean, self._variance, log_variance=self._log_variance)

    @staticmethod
    def base_icdf(uniform: Tensor) -> Tensor:
        """The standard normal's quantiles, finite at 0: in float32 their variance is 1 to within 10^-6."""
        eps = torch.finfo(uniform.dtype).eps
        return math.sqrt(2) * torch.erfinv(2 * uniform.clamp(eps / 4, 1 - eps / 2) - 1)

    @staticmethod
    def draw_base(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal."""
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def rsample(self, base: Tensor) -> Tensor:
        """mean + sqrt(variance) * eps, (B, *), for base = eps (B, *)."""
        std = self.variance.sqrt() if self._log_variance is None else (self._log_variance / 2).exp()
        return self.mean + std * base

    def outcome(self, generator: torch.Generator | None = None) -> Tensor:
        """The mean: a last step adds no noise  (Ho et al. 2020, algorithm 2)."""
        return self.mean

    @property
    def is_point(self) -> Tensor:
        """Whether it is a point mass, bool with the shape of `variance`."""
        if self._log_variance is not None:
            return self._log_variance == -torch.inf
        return self.variance < torch.finfo(self.variance.dtype).tiny

    @property
    def precision(self) -> Tensor:
        """1 / standard deviation, of the shape of `variance`, bounded so that no square or gradient overflows."""
        if self._log_variance is not None:
            return self.log_precision.exp()
        return self.variance.clamp(min=torch.finfo(self.variance.dtype).tiny ** 0.5).rsqrt()

    @property
    def log_precision(self) -> Tensor:
        """log of `precision`, also where that is too small for a float."""
        if self._log_variance is None:
            return self.precision.log()
        return (-self._log_variance / 2).clamp(max=self._log_largest)

    @property
    def _log_largest(self) -> float:
        """log of a number whose square is finite."""
        return math.log(torch.finfo(self.mean.dtype).max) / 2 - math.log(2)

    def _log_where(self, mask: Tensor) -> Tensor:
        """log variance, zero outside the mask, which excludes points."""
        if self._log_variance is None:
            return torch.where(mask, self.variance, 1).log()
        return torch.where(mask, self._log_variance, 0)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at x, (B, *)."""
        spread, error = ~self.is_point, x - self.mean
        if self._log_variance is None:
            variance = torch.where(spread, self.variance, 1)
            density = -0.5 * (error**2 / variance + torch.log(2 * math.pi * variance))
        else:
            log_variance = self._log_where(spread)
            density = -0.5 * (divide(error, log_variance) + math.log(2 * math.pi) + log_variance)
        return torch.where(spread, density, torch.where(error == 0, torch.inf, -torch.inf))

    def kl(self, other: "Gaussian") -> Tensor:
        """KL(self, other), (B, *).

        Infinite where exactly one of the two is a point mass or where two point masses differ, zero where they agree,
        and with gradient zero in both cases. The ratio r of variances is formed once, or as the exponential of a
        difference of logarithms, so that r - 1 - log r keeps its precision where the two are nearly equal, as they are
        at most steps of a chain, and logarithms overflow only where the KL does.
        """
        finite, error = ~self.is_point & ~other.is_point, self.mean - other.mean
        if self._log_variance is None and other._log_variance is None:
            other_variance = torch.where(finite, other.variance, 1)
            ratio = torch.where(finite, self.variance, 1) / other_variance
            kl = 0.5 * (ratio - 1 - torch.log(ratio) + error**2 / other_variance)
        else:
            log_own, log_other = (gaussian._log_where(finite) for gaussian in (self, other))
            log_ratio = log_own - log_other
            kl = 0.5 * (torch.expm1(log_ratio) - log_ratio + divide(error, log_other))
        same_point = self.is_point & other.is_point & (error == 0)
        return torch.where(finite, kl, torch.where(same_point, 0, torch.inf))

    def entropy(self) -> Tensor:
        """Differential entropy in nats, of the shape of `variance`; minus infinity for a point mass."""
        if self._log_variance is None:
            return 0.5 * torch.log(2 * math.pi * math.e * self.variance)
        return 0.5 * (math.log(2 * math.pi * math.e) + self._log_variance)


def divide(error: Tensor, log_variance: Tensor) -> Tensor:
    """error^2 / variance, (B, *): finite or infinite, but never 0 times infinity, for any log-variance."""
    largest = math.log(torch.finfo(error.dtype).max) - 1
    return (error * (-log_variance / 2).clamp(max=largest).exp()) ** 2


class Bernoulli(Distribution):
    """Binary values -1 and 1, the levels of an image of two: P(x = 1) = rate, P(x = -1) = complement.

    rate, complement: (B, *), summing to 1; both are stored because 1 - rate loses all precision near 1. Every method
    is element-wise.
    """

    def __init__(self, rate: Tensor, complement: Tensor | None = None):
        self.rate = rate
        self.complement = 1 - rate if complement is None else complement
        self.mean = self.rate - self.complement

    @staticmethod
    def base_icdf(uniform: Tensor) -> Tensor:
        """The identity."""
        return uniform

    @staticmethod
    def draw_base(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Uniform on [0, 1)."""
        return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def rsample(self, base: Tensor) -> Tensor:
        """1 where the uniform number `base` is below the rate, else -1: (B, *). No gradient reaches the rate."""
        return torch.where(base < self.rate, 1.0, -1.0).to(base)

    def outcome(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw, since the mean is not a binary value."""
        return self.sample(generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability of x in {-1, 1}, (B, *)."""
        p = torch.where(x > 0, self.rate, self.complement)
        return torch.where(p > 0, torch.where(p > 0, p, 1).log(), -torch.inf)

    def kl(self, other: "Bernoulli") -> Tensor:
        """KL(self, other), (B, *); infinite where `other` excludes a value that `self` does not."""
        return relative_entropy(self.rate, other.rate) + relative_entropy(self.complement, other.complement)

    def entropy(self) -> Tensor:
        """-rate log rate - complement log complement, (B, *)."""
        return torch.special.entr(self.rate) + torch.special.entr(self.complement)


def relative_entropy(p: Tensor, q: Tensor) -> Tensor:
    """p log(p / q) - p + q, infinite where q = 0 alone, with gradient zero there.

    The terms of a KL: -p + q sums to zero there and preserves the precision of nearly equal p and q.
    """
    inside = q > 0
    safe_q = torch.where(inside, q, 1)
    excess = (torch.where(inside, p, 1) - safe_q) / safe_q
    positive = excess > -1
    excess = torch.where(positive, excess, 0)
    terms = safe_q * torch.where(positive, (1 + excess) * torch.log1p(excess) - excess, 1)
    return torch.where(inside, terms, torch.where(p > 0, torch.inf, 0.0))
