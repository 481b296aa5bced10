"""The variance sigma_t^2 of the reverse step from t to s."""

import copy
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lit_diffusion.diffusion.decoder import Decoder
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.diffusion.process import GaussianProcess
from lit_diffusion.diffusion.schedule import spread
from lit_diffusion.errors import ConfigError


class Variance(ABC):
    """A rule for the variance of p(x_s | x_t).

    learned: whether it reads the network's second output, `raw` (B, *), which has the image's shape.
    """

    learned = False

    @abstractmethod
    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        """The variance for images x_t (B, *) and steps t > s, (B,): broadcastable against x_t."""

    def gaussian(
        self, mean: Tensor, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None
    ) -> Gaussian:
        """The Gaussian around `mean` (B, *) with this variance."""
        return Gaussian(mean, self(process, x_t, t, s, raw))

    def for_decoder(self, decoder: Decoder) -> "Variance":
        """The rule for a model with this decoder; a copy if it differs."""
        return self

    def protocol(self, process: GaussianProcess) -> dict[str, object]:
        """What scores depend on."""
        return {"variance": type(self).__name__}


class FixedVariance(Variance):
    """A variance that is a function of the schedule.

    last: that of the last step, from t = 1 to 0, which only the decoder uses. `posterior_2` is beta~_2, as in the
        released code; `beta_1` is right for data without levels, whose bound then converges as T grows; null takes
        beta~_2 for data of levels and schedules with beta_2 >= beta_1, as all of the papers have, and else beta_1.
    """

    def __init__(self, last: Literal["beta_1", "posterior_2"] | None = None):
        if last not in (None, "beta_1", "posterior_2"):
            raise ConfigError(f"last: expected beta_1, posterior_2 or null, got {last}")
        self.last = last

    @abstractmethod
    def inside(self, process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
        """The variance of steps to s > 0: (B,) float64."""

    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        to_data = process.schedule.to_table_device(s) == 0
        return spread(torch.where(to_data, self.last_variance(process, t, s), self.inside(process, t, s)), x_t)

    def last_variance(self, process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
        """The variance of the last step, from t to s = 0, by `last`: (B,) float64."""
        if self.last == "posterior_2":
            return posterior_before(process, t, s)
        beta = process.schedule.beta(t, s)
        if self.last == "beta_1" or process.schedule.learned:
            return beta
        before = beta_before(process, t, s)
        return torch.where(before > 0.99 * beta, posterior_before(process, t, s), beta)  # rounding may make 1 less

    def for_decoder(self, decoder: Decoder) -> "FixedVariance":
        if self.last or decoder.num_levels:
            return self
        other = copy.copy(self)
        other.last = "beta_1"
        return other

    def protocol(self, process: GaussianProcess) -> dict[str, object]:
        """The class, and `last` if it is not that of the released code."""
        t = process.schedule.steps()[:1]
        released = torch.equal(self.last_variance(process, t, t - 1), posterior_before(process, t, t - 1))
        return super().protocol(process) | ({} if released else {"last_variance": "beta_1"})


class BetaVariance(FixedVariance):
    """sigma_t^2 = beta_t, "fixed large": optimal for x_0 ~ N(0, I)  (Ho et al. 2020, section 3.2)."""

    def inside(self, process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
        return process.schedule.beta(t, s)


class PosteriorVariance(FixedVariance):
    """sigma_t^2 = beta~_t, "fixed small": optimal for x_0 set to one point  (Ho et al. 2020, section 3.2)."""

    def inside(self, process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
        return process.posterior_coefficients(t, s)[2]


class LearnedVariance(Variance):
    """A variance whose logarithm the network's second output determines."""

    learned = True

    @abstractmethod
    def log(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        """The log-variance, like `__call__`; minus infinity where beta_{t|s} is zero."""

    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        return self.log(process, x_t, t, s, raw).exp()

    def gaussian(
        self, mean: Tensor, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None
    ) -> Gaussian:
        return Gaussian(mean, log_variance=self.log(process, x_t, t, s, raw))


class LearnedDiagonal(LearnedVariance):
    """The network's second output is the log-variance itself, unbounded  (Ho et al. 2020, Table 2 and code).

    Over a longer step than the one that was trained, the variance grows as beta does. It is zero where beta is zero.
    """

    def log(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        step, learned = process.schedule.beta(t, s), process.schedule.beta(t, t - 1)
        growth = torch.where(learned > 0, step / torch.where(learned > 0, learned, 1), step > 0)
        return spread(growth.log(), x_t) + second_output(raw)


class SigmoidVariance(LearnedVariance):
    """sigmoid(z + logit beta_t) of the network's second output z: beta_t for z = 0, and never outside (0, 1).

    Sohl-Dickstein et al. 2015, appendix D.2.1.
    """

    def log(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        beta = process.schedule.beta(t, s)
        logit = torch.where(beta > 0, beta, 0.5).logit(eps=1e-12)
        return spread(noise_mask(beta), x_t) + logsigmoid(second_output(raw) + spread(logit, x_t))


class LearnedRange(LearnedVariance):
    """The network's second output v in [-1, 1] interpolates between log beta~ and log beta.

    Nichol & Dhariwal 2021, eq. 15, with v scaled as in their code: log beta at v = 1, log beta~ at v = -1, and beta~_2
    in the place of beta~_1.
    """

    def log(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        beta, posterior = process.schedule.beta(t, s), posterior_variance(process, t, s)
        smallest = torch.finfo(torch.float32).tiny
        high, low = (spread(v.clamp(min=smallest).log(), x_t) for v in (beta, posterior))
        fraction = (second_output(raw) + 1) / 2
        return spread(noise_mask(beta), x_t) + fraction * high + (1 - fraction) * low


def noise_mask(beta: Tensor) -> Tensor:
    """0 where there is noise, minus infinity where beta = 0: added to a log-variance."""
    return torch.where(beta > 0, 0.0, -torch.inf).to(beta.dtype)


def second_output(raw: Tensor | None) -> Tensor:
    """The network's second output, which models with a learned variance always pass."""
    assert raw is not None
    return raw


def posterior_variance(process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
    """beta~_{t|s}, with `posterior_before` where s = 0 and beta~ is zero: (B,) float64."""
    inside = process.schedule.to_table_device(s) > 0
    return torch.where(inside, process.posterior_coefficients(t, s)[2], posterior_before(process, t, s))


def step_before(process: GaussianProcess, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Start and end, (B,), of the step before that from t to s = 0, and as long: from 2t - s, at most T, to t."""
    t, s = process.schedule.to_table_device(t), process.schedule.to_table_device(s)
    return (2 * t - s).clamp(max=process.num_steps), t


def beta_before(process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
    """beta of the step before, zero if there is none (T = 1, or one step from T): (B,) float64."""
    before, t = step_before(process, t, s)
    return process.schedule.beta(before, t)


def posterior_before(process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
    """beta~_2 as the variance of the last step, from t to s = 0, as in the released code: (B,) float64.

    In a chain over fewer steps that of the step before. With no step before it is beta_{t|0}.
    """
    before, t = step_before(process, t, s)
    sigma2 = process.schedule.sigma2(before)
    ratio = process.schedule.sigma2(t) / torch.where(sigma2 > 0, sigma2, 1)
    return torch.where(before > t, beta_before(process, t, s) * ratio, process.schedule.beta(t, s))
