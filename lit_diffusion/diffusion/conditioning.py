"""Posteriors without retraining: a trained p(x_0) times any r(x_0)  (Sohl-Dickstein et al. 2015, section 2.5).

At every step the distribution p(x_0 | x_t) that the network stands for is multiplied by r, and the chain goes on with
the mean of the product. So the known part of x_t always has the noise of its own step, every sampler works, and where
p(x_0 | x_t) is what it is taken for the chain is that of the posterior. The paper multiplies each p(x_{t-1} | x_t) by
an r of its choice instead, which counts the same evidence once a step.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lit_diffusion.diffusion.bernoulli import BernoulliPrediction, BernoulliReverse, CleanBit
from lit_diffusion.diffusion.distributions import Distribution, Gaussian
from lit_diffusion.diffusion.gaussian import GaussianPrediction, GaussianReverse
from lit_diffusion.diffusion.reverse import Prediction, ReverseModel
from lit_diffusion.diffusion.schedule import spread
from lit_diffusion.errors import ConfigError


class Condition(ABC):
    """What is known of x_0: a factor r(x_0) on its density."""

    @abstractmethod
    def gaussian(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """Mean of N(mean, covariance) times r: mean (B, D), covariance (B, D, D), or (B, 1, 1) for a multiple of I."""

    @abstractmethod
    def log_odds(self, mean: Tensor) -> Tensor:
        """log r(x_i = 1) - log r(x_i = -1) of binary values whose mean is (B, D): (B, D)."""


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


class Covariance(ABC):
    """The covariance of p(x_0 | x_t), which the network does not give."""

    @abstractmethod
    def __call__(self, reverse: GaussianReverse, prediction: GaussianPrediction) -> Tensor:
        """(B, 1, 1) for a multiple of I, or (B, D, D)."""


class Isotropic(Covariance):
    """That of data N(mu, variance I): variance (1 - alpha_bar_t) / (alpha_bar_t variance + 1 - alpha_bar_t)."""

    def __init__(self, variance: float = 1.0):
        if variance <= 0:
            raise ConfigError(f"variance: {variance:g} is none of data; write a positive number, as 1")
        self.variance = variance

    def __call__(self, reverse: GaussianReverse, prediction: GaussianPrediction) -> Tensor:
        schedule, t = reverse.process.schedule, prediction.t
        noise = schedule.noise(t)
        covariance = self.variance * noise / (self.variance * schedule.alpha_bar(t) + noise)
        return covariance.to(prediction.x_t).view(-1, 1, 1)


class Tweedie(Covariance):
    """The exact one of an exact denoiser: (1 - alpha_bar_t) / sqrt(alpha_bar_t) times the Jacobian of x_0 by x_t
    (Meng et al. 2021, arXiv 2111.04726). It takes D backward passes a step, for D values an example.
    """

    def __call__(self, reverse: GaussianReverse, prediction: GaussianPrediction) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x_t = prediction.x_t.clone().detach().requires_grad_()
            x_0 = reverse.predict(x_t, prediction.t.clone()).x_0.flatten(1)
            rows = [
                torch.autograd.grad(x_0[:, i].sum(), x_t, retain_graph=True)[0].flatten(1) for i in range(x_0.shape[1])
            ]
        jacobian = torch.stack(rows, dim=1)
        schedule, t = reverse.process.schedule, prediction.t
        scale = spread(schedule.noise(t) * schedule.alpha_bar(t).rsqrt(), jacobian)
        # that of an inexact denoiser need be neither symmetric nor positive
        values, vectors = torch.linalg.eigh(scale * (jacobian + jacobian.mT) / 2)
        return (vectors * values.clamp(min=0)[:, None]) @ vectors.mT


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


class ConditionedReverse(ReverseModel):
    """A trained reverse model, conditioned: samplers take it in place of the model.

    covariance: of p(x_0 | x_t), for Gaussian models. Raises ConfigError for models of x_{t-1}: they do not know x_0.
    """

    def __init__(self, reverse: ReverseModel, condition: Condition, covariance: Covariance = Isotropic()):
        super().__init__(reverse.process)
        if isinstance(reverse, BernoulliReverse) and not isinstance(reverse.parameterization, CleanBit):
            raise ConfigError(
                f"{type(reverse.parameterization).__name__} says nothing of x_0, which the condition is about; train "
                "CleanBit",
                key="model.reverse.parameterization",
            )
        self.reverse, self.condition, self.covariance = reverse, condition, covariance

    @property
    def protocol(self) -> dict[str, object]:
        return {**self.reverse.protocol, "condition": type(self.condition).__name__}

    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> Prediction:
        """One evaluation of the network, and what the condition makes of it."""
        prediction = self.reverse.predict(x_t, t, clip)
        if isinstance(prediction, BernoulliPrediction):
            odds = self.condition.log_odds(prediction.x_0.flatten(1)).view_as(x_t)
            return BernoulliPrediction(prediction.reverse, x_t, t, prediction.output + odds)
        covariance = self.covariance(self.reverse, prediction)
        x_0 = self.condition.gaussian(prediction.x_0.flatten(1), covariance).view_as(x_t)
        return ConditionedPrediction(prediction, x_0)

    def reconstruction_nll(self, x_0: Tensor, p: Distribution) -> Tensor:
        return self.reverse.reconstruction_nll(x_0, p)

    def check_steps(self, steps: Sequence[int]) -> None:
        self.reverse.check_steps(steps)

    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        self.reverse.check(shape, num_levels)


class ConditionedPrediction(Prediction):
    """A prediction of a Gaussian model whose x_0 is the mean of p(x_0 | x_t) r(x_0)."""

    def __init__(self, prediction: GaussianPrediction, x_0: Tensor):
        self.prediction, self.x_0 = prediction, x_0
        self.reverse, self.x_t, self.t = prediction.reverse, prediction.x_t, prediction.t
        self.output = prediction.output

    @property
    def eps(self) -> Tensor:
        """The noise that belongs to x_0, (B, *)."""
        return self.reverse.process.eps(self.x_0, self.x_t, self.t)

    def transition(self, s: Tensor) -> Gaussian:
        """The posterior of that x_0, with the model's variance."""
        mean = self.reverse.process.posterior(self.x_0, self.x_t, self.t, s).mean
        return Gaussian(mean, self.prediction.transition(s).variance)

    def simple_loss(self, x_0: Tensor, noise: Tensor) -> Tensor:
        return self.prediction.simple_loss(x_0, noise)
