"""Posteriors without retraining: a trained p(x_0) times any r(x_0)  (Sohl-Dickstein et al. 2015, section 2.5).

At every step the distribution p(x_0 | x_t) of the network is multiplied by r, and the chain goes on with the mean of
the product. So the known part of x_t always has the noise level of its step, every sampler works, and with an exact
p(x_0 | x_t) the chain is the posterior's. The paper instead multiplies each p(x_{t-1} | x_t) by r, which counts the
same evidence once per step.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from lit_diffusion.diffusion.condition import Condition, Guided, full_precision
from lit_diffusion.diffusion.distributions import Distribution
from lit_diffusion.diffusion.gaussian import ConditionedPrediction, GaussianPrediction
from lit_diffusion.diffusion.reverse import ReverseModel, ReversePrediction
from lit_diffusion.diffusion.schedule import spread
from lit_diffusion.errors import ConfigError


class Covariance(ABC):
    """The covariance of p(x_0 | x_t), which the network does not predict."""

    @abstractmethod
    def __call__(self, reverse: ReverseModel, prediction: ReversePrediction) -> Tensor:
        """(B, 1, 1) for a multiple of I, or (B, D, D)."""


class Isotropic(Covariance):
    """For data N(mu, variance I): variance (1 - alpha_bar_t) / (alpha_bar_t variance + 1 - alpha_bar_t)."""

    def __init__(self, variance: float = 1.0):
        if variance <= 0:
            raise ConfigError(f"variance: expected a positive number, got {variance:g}; use 1 for standardized data")
        self.variance = variance

    def __call__(self, reverse: ReverseModel, prediction: ReversePrediction) -> Tensor:
        schedule, t = reverse.process.schedule, prediction.t
        sigma2 = schedule.sigma2(t)
        covariance = self.variance * sigma2 / (self.variance * schedule.alpha_bar(t) + sigma2)
        return covariance.to(prediction.x_t).view(-1, 1, 1)


class Tweedie(Covariance):
    """Exact for an exact denoiser: (1 - alpha_bar_t) / sqrt(alpha_bar_t) times the Jacobian of x_0 with respect to
    x_t (Meng et al. 2021, arXiv 2111.04726). Takes D backward passes per step for examples of D values.
    """

    def __call__(self, reverse: ReverseModel, prediction: ReversePrediction) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x_t = prediction.x_t.clone().detach().requires_grad_()
            x_0 = reverse.predict(x_t, prediction.t.clone()).x_0.flatten(1)
            rows = [
                torch.autograd.grad(x_0[:, i].sum(), x_t, retain_graph=True)[0].flatten(1) for i in range(x_0.shape[1])
            ]
        jacobian = torch.stack(rows, dim=1)
        schedule, t = reverse.process.schedule, prediction.t
        scale = spread(schedule.sigma2(t) * schedule.alpha_bar(t).rsqrt(), jacobian)
        # an inexact denoiser's need be neither symmetric nor positive
        with full_precision(jacobian):
            values, vectors = torch.linalg.eigh(scale * (jacobian + jacobian.mT) / 2)
            return (vectors * values.clamp(min=0)[:, None]) @ vectors.mT


class WrappedReverse(ReverseModel):
    """A trained reverse model whose predictions are changed: samplers take it in place of the model.

    Raises ConfigError unless the model predicts x_0.
    """

    def __init__(self, reverse: ReverseModel):
        super().__init__(reverse.process)
        if not reverse.predicts_x_0:
            raise ConfigError(
                f"expected a model that predicts x_0, which the condition is about, got "
                f"{reverse.protocol.get('parameterization', type(reverse).__name__)}; train CleanBit",
                key="model.reverse.parameterization",
            )
        self.reverse = reverse

    @property
    def has_eps(self) -> bool:
        return self.reverse.has_eps

    @property
    def num_classes(self) -> int | None:
        return self.reverse.num_classes

    def guided(self, scale: float) -> ReverseModel:
        if not scale:
            return self
        view = copy.copy(self)
        view._modules = {**self._modules, "reverse": self.reverse.guided(scale)}
        return view

    def reconstruction_nll(self, x_0: Tensor, p: Distribution) -> Tensor:
        return self.reverse.reconstruction_nll(x_0, p)

    def check_steps(self, steps: Sequence[int]) -> None:
        self.reverse.check_steps(steps)

    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        self.reverse.check(shape, num_levels)


class ConditionedReverse(WrappedReverse):
    """A trained reverse model under a condition on x_0.

    covariance: of p(x_0 | x_t), for models with Gaussian noise.
    """

    def __init__(self, reverse: ReverseModel, condition: Condition, covariance: Covariance = Isotropic()):
        super().__init__(reverse)
        self.condition, self.covariance = condition, covariance

    @property
    def protocol(self) -> dict[str, object]:
        return {**self.reverse.protocol, "condition": type(self.condition).__name__}

    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> ReversePrediction:
        """One evaluation of the network, multiplied by the condition."""
        prediction = self.reverse.predict(x_t, t, clip)
        return prediction.multiply(self.condition, lambda: self.covariance(self.reverse, prediction))


class ClassifierGuidedReverse(WrappedReverse):
    """A trained reverse model guided by a classifier of noisy examples  (Dhariwal & Nichol 2021, algorithms 1 and 2).

    The score of q(x_t) becomes that of q(x_t) r(x_t)^scale, r being p(label | x_t): exact for scale 1 with an exact
    classifier and denoiser. For the ancestral sampler it moves the mean by scale * beta grad log r / sqrt(alpha).

    log_r: differentiable, (B, *) at steps t (B,) to (B,) in nats. Raises ConfigError unless the model has eps.
    """

    def __init__(self, reverse: ReverseModel, log_r: Callable[[Tensor, Tensor], Tensor], scale: float = 1.0):
        super().__init__(reverse)
        if not reverse.has_eps:
            raise ConfigError(
                f"expected a model with Gaussian noise, whose noisy examples have gradients, got "
                f"{type(reverse).__name__}; use a condition on x_0"
            )
        self.log_r, self.scale = log_r, scale

    @property
    def protocol(self) -> dict[str, object]:
        return {**self.reverse.protocol, "classifier_scale": self.scale}

    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> ReversePrediction:
        """One evaluation of the network, and one of the classifier with its gradient."""
        prediction, schedule = self.reverse.predict(x_t, t, clip), self.process.schedule
        moved = spread(schedule.sigma2(t) * schedule.alpha_bar(t).rsqrt() * self.scale, x_t)
        # cloned, since tensors of inference mode take no part in gradients
        guided = Guided(lambda x: self.log_r(x, t.clone()), tuple(x_t.shape[1:]))
        shift = moved * guided.gradient(x_t.flatten(1)).view_as(x_t)
        return ConditionedPrediction(cast(GaussianPrediction, prediction), prediction.x_0 + shift)
