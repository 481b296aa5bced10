"""The likelihood of discrete images under the Gaussian of the last step (Ho et al. 2020, section 3.3)."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.errors import ConfigError

UNIT_LOGISTIC = math.pi / math.sqrt(3)  # the standard deviation of the standard logistic distribution


class Decoder(ABC):
    """p(x_0 | x_1) for data of `num_levels` levels on [-1, 1], or for real values if that is None."""

    num_levels: int | None

    @abstractmethod
    def nll(self, x_0: Tensor, p: Gaussian) -> Tensor:
        """-log p(x_0) in nats, element-wise, for x_0 (B, *) and p over the same shape."""


class GaussianDensity(Decoder):
    """The density of the Gaussian itself, for real-valued data; its bound may be negative."""

    num_levels = None

    def nll(self, x_0: Tensor, p: Gaussian) -> Tensor:
        return -p.log_prob(x_0)


class LevelDecoder(Decoder):
    """p(x_0 | x_1) for `num_levels` equally spaced levels on [-1, 1]: the Gaussian's mass in each level's bin.

    Bins have half-width 1 / (num_levels - 1) and are open at both ends, so that the masses sum to 1.
    """

    def __init__(self, num_levels: int = 256):
        if num_levels < 2:
            raise ConfigError(
                f"{type(self).__name__}.num_levels: expected 2 or more, got {num_levels}; use 256 for 8 bits"
            )
        self.num_levels = num_levels
        self._half_width = 1 / (num_levels - 1)

    def nll(self, x_0: Tensor, p: Gaussian) -> Tensor:
        """-log p(x_0) in nats, element-wise, for x_0 (B, *) on the levels and p over the same shape."""
        half, precision = self._half_width, p.precision
        limit = torch.finfo(precision.dtype).max ** 0.5 / 2  # far beyond what a pixel resolves; its square is finite
        low, high = (((edge - p.mean) * precision).clamp(-limit, limit) for edge in (x_0 - half, x_0 + half))
        width = p.log_precision + math.log(2 * half)
        return -self.log_mass(low, high, width, x_0 < -1 + half, x_0 > 1 - half)

    @abstractmethod
    def log_mass(self, low: Tensor, high: Tensor, log_width: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """Log mass of a standard normal between `low` and `high`, which are exp(log_width) apart.

        first, last: masks of bins that are open below or above.
        """


class DiscretizedGaussian(LevelDecoder):
    """The exact normal CDF, stable in both tails and in narrow bins (Ho et al. 2020, eq. 13)."""

    def log_mass(self, low: Tensor, high: Tensor, log_width: Tensor, first: Tensor, last: Tensor) -> Tensor:
        mirrored = low + high > 0  # the lower tail is the one that keeps its precision
        left, right = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
        log_left, log_right = log_ndtr(left), log_ndtr(right)
        tiny, narrow = torch.finfo(low.dtype).tiny, log_width < math.log(torch.finfo(low.dtype).eps) / 4
        inside = log_right + torch.log(-torch.expm1((log_left - log_right).clamp(max=-tiny)))
        inside = torch.where(narrow, log_narrow_mass((low + high) / 2, log_width), inside)
        ends = torch.where(first, log_ndtr(high), log_ndtr(-low))
        return torch.where(first | last, ends, inside)


class DiscretizedLogistic(LevelDecoder):
    """A logistic distribution of the Gaussian's mean and variance: heavier tails  (Salimans et al. 2017, section 2.1).

    The mass between a and b is s(b) s(-a) (1 - exp(a - b)), with s the logistic sigmoid, exact in both tails.
    """

    def log_mass(self, low: Tensor, high: Tensor, log_width: Tensor, first: Tensor, last: Tensor) -> Tensor:
        low, high = UNIT_LOGISTIC * low, UNIT_LOGISTIC * high
        width = (UNIT_LOGISTIC * log_width.exp()).clamp(min=torch.finfo(low.dtype).tiny)
        below, above = nn.functional.logsigmoid(high), nn.functional.logsigmoid(-low)
        inside = below + above + torch.log(-torch.expm1(-width))
        return torch.where(first, below, torch.where(last, above, inside))


class TanhDiscretizedGaussian(LevelDecoder):
    """The released code's tanh approximation of the normal CDF, masses clamped at 1e-12; for parity with that code."""

    def log_mass(self, low: Tensor, high: Tensor, log_width: Tensor, first: Tensor, last: Tensor) -> Tensor:
        cdf_low, cdf_high = self._cdf(low), self._cdf(high)
        mass = torch.where(first, cdf_high, torch.where(last, 1 - cdf_low, cdf_high - cdf_low))
        return mass.clamp(min=1e-12).log()

    @staticmethod
    def _cdf(z: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3)))


def log_narrow_mass(centre: Tensor, log_width: Tensor) -> Tensor:
    """Log mass of a standard normal in a bin around `centre` in which the CDF hardly changes.

    Up to h^4, with c the centre and h half the width: 2 h phi(c) sinh(c h) / (c h) (1 - h^2 / 6).
    """
    half = log_width.exp() / 2
    a, small = (centre * half).abs(), torch.finfo(half.dtype).eps ** 0.25
    beyond = a.clamp(min=small)
    log_sinhc = torch.where(a < small, a**2 / 6, beyond + torch.log(-torch.expm1(-2 * beyond) / (2 * beyond)))
    return log_width - (centre**2 + math.log(2 * math.pi)) / 2 + log_sinhc - half**2 / 6


def log_ndtr(z: Tensor) -> Tensor:
    """log of the normal CDF, with an accurate gradient in the lower tail too.

    torch.special.log_ndtr has the same values, but its gradient takes the exponential of a difference of large numbers:
    a tenth off in float32 at z = -2000, zero or infinite beyond.
    """
    negative = z < 0
    below, above = torch.where(negative, z, 0), torch.where(negative, 0, z)
    tail = torch.log(torch.special.erfcx(-below / 2**0.5) / 2) - below**2 / 2
    return torch.where(negative, tail, torch.log1p(-torch.erfc(above / 2**0.5) / 2))
