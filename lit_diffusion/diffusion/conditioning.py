"""Posteriors without retraining: a trained p(x_0) times any r(x_0)  (Sohl-Dickstein et al. 2015, section 2.5).

At every step the distribution p(x_0 | x_t) that the network stands for is multiplied by r, and the chain goes on with
the mean of the product. So the known part of x_t always has the noise of its own step, every sampler works, and where
p(x_0 | x_t) is what it is taken for the chain is that of the posterior. The paper multiplies each p(x_{t-1} | x_t) by
an r of its choice instead, which counts the same evidence once a step.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from lit_diffusion.diffusion.bernoulli import BernoulliPrediction, BernoulliReverse, CleanBit
from lit_diffusion.diffusion.condition import Condition
from lit_diffusion.diffusion.distributions import Distribution, Gaussian
from lit_diffusion.diffusion.gaussian import GaussianPrediction, GaussianReverse
from lit_diffusion.diffusion.reverse import Prediction, ReverseModel
from lit_diffusion.diffusion.schedule import spread
from lit_diffusion.errors import ConfigError


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
    def has_eps(self) -> bool:
        return self.reverse.has_eps

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
