"""Conditions on x_0: factors r(x_0) on its density  (Sohl-Dickstein et al. 2015, section 2.5)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError


class Condition(ABC):
    """A condition on x_0: a factor r(x_0) on its density."""

    @abstractmethod
    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """Mean of N(mean, covariance) times r, (B, D), for mean (B, D), covariance (B, D, D) or (B, 1, 1), times I."""

    @abstractmethod
    def log_odds(self, mean: Tensor) -> Tensor:
        """log r(x_i = 1) - log r(x_i = -1) in nats, (B, D), for binary values with mean (B, D)."""


class Known(Condition):
    """Some values are known: r is a point mass. values: (*) or (B, *); mask: bool, same shape, true where known."""

    def __init__(self, values: Tensor, mask: Tensor):
        if mask.shape != values.shape:
            raise ConfigError(f"mask: expected the shape of the values, {tuple(values.shape)}, got {tuple(mask.shape)}")
        self.values, self.mask = values, mask.bool()
        refuse_non_finite(values[self.mask])

    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        values, mask = flat_like(self.values, mean), flat_like(self.mask, mean)
        if covariance.shape[-1] > 1:
            error = torch.where(mask, values - mean, 0)
            both = mask[:, :, None] & mask[:, None, :]
            unit = torch.eye(mean.shape[1], device=mean.device, dtype=mean.dtype)
            with full_precision(mean):
                weights = inverse(torch.where(both, covariance, unit)) @ error[..., None]
                mean = mean + (covariance @ torch.where(mask[..., None], weights, 0))[..., 0]
        return torch.where(mask, values, mean)

    def log_odds(self, mean: Tensor) -> Tensor:
        refuse_other_than_signs(self.values[self.mask])
        return torch.where(flat_like(self.mask, mean), flat_like(self.values, mean) * torch.inf, 0.0)


class Observed(Condition):
    """Every value is observed with an error: r(x) = N(values; x, std^2 I), or for binary data flipped with probability
    `flipped`. values: (*) or (B, *).
    """

    def __init__(self, values: Tensor, std: float = 0.0, flipped: float = 0.0):
        if not 0 <= std < math.inf:
            raise ConfigError(f"std: expected a finite number of 0 or more, got {std:g}")
        refuse_non_finite(values)
        if not 0 <= flipped < 0.5:
            raise ConfigError(f"flipped: expected a probability in [0, 0.5), got {flipped:g}")
        self.values, self.std, self.flipped = values, std, flipped

    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        error = flat_like(self.values, mean) - mean
        if covariance.shape[-1] == 1:
            scale = covariance[..., 0]
            return mean + scale / (scale + self.std**2).clamp(min=torch.finfo(mean.dtype).tiny) * error
        error_covariance = self.std**2 * torch.eye(mean.shape[1], device=mean.device, dtype=mean.dtype)
        with full_precision(mean):
            return mean + (covariance @ inverse(covariance + error_covariance) @ error[..., None])[..., 0]

    def log_odds(self, mean: Tensor) -> Tensor:
        refuse_other_than_signs(self.values)
        certain = torch.tensor((1 - self.flipped) / self.flipped).log() if self.flipped else torch.inf
        return flat_like(self.values, mean) * certain


class Guided(Condition):
    """Any differentiable log r, such as a classifier's log probability, by its gradient at the mean.

    log_r: (B, *) to (B,), called with examples of `shape` (*); the mean moves by covariance times gradient.
    """

    def __init__(self, log_r: Callable[[Tensor], Tensor], shape: tuple[int, ...]):
        self.log_r, self.shape = log_r, shape

    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        gradient = self.gradient(mean)
        if covariance.shape[-1] == 1:
            return mean + covariance[..., 0] * gradient
        with full_precision(mean):
            return mean + (covariance @ gradient[..., None])[..., 0]

    def log_odds(self, mean: Tensor) -> Tensor:
        return 2 * self.gradient(mean)

    def gradient(self, mean: Tensor) -> Tensor:
        """That of log r at `mean` (B, D)."""
        with torch.inference_mode(False), torch.enable_grad():
            x = mean.clone().detach().requires_grad_()
            if math.prod(self.shape) != mean.shape[1]:
                raise ConfigError(f"shape: expected examples of {mean.shape[1]} values, got {self.shape}")
            value = self.log_r(x.unflatten(1, self.shape))
            if value.shape != (len(x),) or not value.requires_grad:
                raise ConfigError(
                    f"log_r: expected a differentiable function with shape ({len(x)},) for {len(x)} examples, got "
                    f"{tuple(value.shape)}{'' if value.requires_grad else ' without a gradient'}"
                )
            (gradient,) = torch.autograd.grad(value.sum(), x)
        if not (value.isfinite().all() and gradient.isfinite().all()):
            raise ConfigError(
                "log_r: expected finite values and gradients, got others; use an r that is positive everywhere"
            )
        return gradient


def full_precision(x: Tensor) -> torch.autocast:
    """A context in which matrix products on the device of x keep their type: mixed precision is for networks."""
    return torch.autocast(x.device.type, enabled=False)


def inverse(covariance: Tensor) -> Tensor:
    """The (pseudo-)inverse of symmetric matrices (B, D, D), which an inexact denoiser may make singular."""
    return torch.linalg.pinv(covariance, hermitian=True)


def refuse_non_finite(values: Tensor) -> None:
    """Raises ConfigError unless all values are finite."""
    if not values.isfinite().all():
        raise ConfigError("values: expected finite numbers where known; mask out the others")


def refuse_other_than_signs(values: Tensor) -> None:
    """Raises ConfigError unless all values are -1 or 1."""
    if not (values.abs() == 1).all():
        raise ConfigError("values: expected -1 or 1, since the data is binary")


def flat_like(values: Tensor, mean: Tensor) -> Tensor:
    """Values (*) or (B, *) as (B, D), on the device of mean (B, D). Raises ConfigError if their numbers differ."""
    whole = values.numel() == mean.shape[1] or values.ndim == 1
    flat = values.flatten() if whole else values.flatten(1)
    if flat.shape[-1] != mean.shape[1] or (flat.ndim == 2 and len(flat) not in (1, len(mean))):
        raise ConfigError(
            f"values: expected one for each of the examples' {mean.shape[1]} values, got shape {tuple(values.shape)}"
        )
    flat = flat.to(mean.device)
    return (flat if flat.dtype == torch.bool else flat.to(mean.dtype)).expand_as(mean)
