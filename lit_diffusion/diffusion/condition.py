"""What may be known of x_0: factors r(x_0) on its density  (Sohl-Dickstein et al. 2015, section 2.5)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError


class Condition(ABC):
    """What is known of x_0: a factor r(x_0) on its density."""

    @abstractmethod
    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """Mean of N(mean, covariance) times r: mean (B, D), covariance (B, D, D), or (B, 1, 1) for a multiple of I."""

    @abstractmethod
    def log_odds(self, mean: Tensor) -> Tensor:
        """log r(x_i = 1) - log r(x_i = -1), nats, of binary values whose mean is (B, D): (B, D)."""


class Known(Condition):
    """Some values are known: r is a point. values: (*) or (B, *); mask: bool, the same shape, true where known."""

    def __init__(self, values: Tensor, mask: Tensor):
        if mask.shape != values.shape:
            raise ConfigError(
                f"the mask has shape {tuple(mask.shape)}, the values {tuple(values.shape)}; write a mask for each value"
            )
        self.values, self.mask = values, mask.bool()
        refuse_non_finite(values[self.mask])

    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        values, mask = flat_like(self.values, mean), flat_like(self.mask, mean)
        if covariance.shape[-1] > 1:
            error = torch.where(mask, values - mean, 0)
            both = mask[:, :, None] & mask[:, None, :]
            unit = torch.eye(mean.shape[1], device=mean.device, dtype=mean.dtype)
            weights = inverse(torch.where(both, covariance, unit)) @ error[..., None]
            mean = mean + (covariance @ torch.where(mask[..., None], weights, 0))[..., 0]
        return torch.where(mask, values, mean)

    def log_odds(self, mean: Tensor) -> Tensor:
        refuse_other_than_signs(self.values[self.mask])
        return torch.where(flat_like(self.mask, mean), flat_like(self.values, mean) * torch.inf, 0.0)


class Observed(Condition):
    """Every value was seen through noise: r(x) = N(values; x, std^2 I), or for binary data values flipped with
    probability `flipped`. values: (*) or (B, *).
    """

    def __init__(self, values: Tensor, std: float = 0.0, flipped: float = 0.0):
        if not 0 <= std < math.inf:
            raise ConfigError(f"std: {std:g} is no standard deviation; write 0 or more")
        refuse_non_finite(values)
        if not 0 <= flipped < 0.5:
            raise ConfigError(f"flipped: {flipped:g} leaves nothing known, or less; write a probability in [0, 0.5)")
        self.values, self.std, self.flipped = values, std, flipped

    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        error = flat_like(self.values, mean) - mean
        if covariance.shape[-1] == 1:
            scale = covariance[..., 0]
            return mean + scale / (scale + self.std**2).clamp(min=torch.finfo(mean.dtype).tiny) * error
        noise = self.std**2 * torch.eye(mean.shape[1], device=mean.device, dtype=mean.dtype)
        return mean + (covariance @ inverse(covariance + noise) @ error[..., None])[..., 0]

    def log_odds(self, mean: Tensor) -> Tensor:
        refuse_other_than_signs(self.values)
        certain = torch.tensor((1 - self.flipped) / self.flipped).log() if self.flipped else torch.inf
        return flat_like(self.values, mean) * certain


class Guided(Condition):
    """Any differentiable log r, as a classifier's log probability: its gradient at the mean counts.

    log_r: (B, *) to (B,), called with examples of `shape` (*); the mean moves by covariance times gradient.
    """

    def __init__(self, log_r: Callable[[Tensor], Tensor], shape: tuple[int, ...]):
        self.log_r, self.shape = log_r, shape

    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        gradient = self._gradient(mean)
        if covariance.shape[-1] == 1:
            return mean + covariance[..., 0] * gradient
        return mean + (covariance @ gradient[..., None])[..., 0]

    def log_odds(self, mean: Tensor) -> Tensor:
        return 2 * self._gradient(mean)

    def _gradient(self, mean: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x = mean.clone().detach().requires_grad_()
            if math.prod(self.shape) != mean.shape[1]:
                raise ConfigError(f"shape: examples of {self.shape} have not the {mean.shape[1]} values of the model's")
            value = self.log_r(x.unflatten(1, self.shape))
            if value.shape != (len(x),) or not value.requires_grad:
                raise ConfigError(
                    f"log r is {tuple(value.shape)}, {'' if value.requires_grad else 'without a gradient, '}for "
                    f"{len(x)} examples; write a differentiable function with one number for each"
                )
            (gradient,) = torch.autograd.grad(value.sum(), x)
        if not (value.isfinite().all() and gradient.isfinite().all()):
            raise ConfigError("log r is not finite for an estimate of x_0; write an r that is positive everywhere")
        return gradient


def inverse(covariance: Tensor) -> Tensor:
    """Of symmetric matrices (B, D, D); of a singular one, as an inexact denoiser may have, the pseudo-inverse."""
    return torch.linalg.pinv(covariance, hermitian=True)


def refuse_non_finite(values: Tensor) -> None:
    """Raises ConfigError unless all are numbers."""
    if not values.isfinite().all():
        raise ConfigError("what is known is not finite; write numbers, and a mask that leaves out the others")


def refuse_other_than_signs(values: Tensor) -> None:
    """Raises ConfigError for what is no binary data."""
    if not (values.abs() == 1).all():
        raise ConfigError("what is known of binary data is neither -1 nor 1; write data of two levels")


def flat_like(values: Tensor, mean: Tensor) -> Tensor:
    """(*) or (B, *) as (B, D) beside a mean (B, D), on its device. Raises ConfigError for another number of values."""
    whole = values.numel() == mean.shape[1] or values.ndim == 1
    flat = values.flatten() if whole else values.flatten(1)
    if flat.shape[-1] != mean.shape[1] or (flat.ndim == 2 and len(flat) not in (1, len(mean))):
        raise ConfigError(
            f"what is known has shape {tuple(values.shape)}, and the examples have {mean.shape[1]} values; write one "
            "for each of them"
        )
    flat = flat.to(mean.device)
    return (flat if flat.dtype == torch.bool else flat.to(mean.dtype)).expand_as(mean)
