"""The variance sigma_t^2 of the reverse step from t to s."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lit_diffusion.diffusion.process import GaussianProcess
from lit_diffusion.diffusion.schedule import spread


class Variance(ABC):
    """A rule for the variance of p(x_s | x_t).

    learned: whether it reads the network's second output, `raw` (B, *), which has the image's shape.
    """

    learned = False

    @abstractmethod
    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        """The variance for images x_t (B, *) and steps t > s, (B,): broadcastable against x_t."""


class BetaVariance(Variance):
    """sigma_t^2 = beta_t, "fixed large": optimal for x_0 ~ N(0, I)  (Ho et al. 2020, section 3.2)."""

    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        beta, last = process.schedule.beta(t, s), last_variance(process, t, s)
        return spread(torch.where(process.schedule.to_table_device(s) > 0, beta, last), x_t)


class PosteriorVariance(Variance):
    """sigma_t^2 = beta~_t, "fixed small": optimal for x_0 set to one point  (Ho et al. 2020, section 3.2)."""

    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        return spread(posterior_variance(process, t, s), x_t)


class LearnedDiagonal(Variance):
    """The network's second output is the log-variance itself, unbounded  (Ho et al. 2020, Table 2 and code).

    Over a longer step than the one that was trained, the variance grows as beta does. It is zero where beta is zero.
    """

    learned = True

    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        step, learned = process.schedule.beta(t, s), process.schedule.beta(t, t - 1)
        growth = torch.where(learned > 0, step / learned, step > 0)
        return spread(growth, x_t) * second_output(raw).exp()


class SigmoidVariance(Variance):
    """sigmoid(z + logit beta_t) of the network's second output z: beta_t for z = 0, and never outside (0, 1).

    Sohl-Dickstein et al. 2015, appendix D.2.1.
    """

    learned = True

    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        beta = process.schedule.beta(t, s)
        noisy = beta > 0
        logit = torch.where(noisy, beta, 0.5).logit(eps=1e-12)
        return spread(noisy.double(), x_t) * torch.sigmoid(second_output(raw) + spread(logit, x_t))


class LearnedRange(Variance):
    """The network's second output v in [-1, 1] interpolates between log beta~ and log beta.

    Nichol & Dhariwal 2021, eq. 15, with v scaled as in their code: log beta at v = 1, log beta~ at v = -1.
    """

    learned = True

    def __call__(self, process: GaussianProcess, x_t: Tensor, t: Tensor, s: Tensor, raw: Tensor | None) -> Tensor:
        beta, posterior = process.schedule.beta(t, s), posterior_variance(process, t, s)
        smallest = torch.finfo(torch.float32).tiny
        high, low = (spread(v.clamp(min=smallest).log(), x_t) for v in (beta, posterior))
        fraction = (second_output(raw) + 1) / 2
        return spread((beta > 0).double(), x_t) * (fraction * high + (1 - fraction) * low).exp()


def second_output(raw: Tensor | None) -> Tensor:
    """The network's second output, which models with a learned variance always pass."""
    assert raw is not None
    return raw


def posterior_variance(process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
    """beta~_{t|s}, with `last_variance` where s = 0 and beta~ is zero: (B,) float64."""
    inside = process.schedule.to_table_device(s) > 0
    return torch.where(inside, process.posterior_coefficients(t, s)[2], last_variance(process, t, s))


def last_variance(process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
    """The variance of the last step, from t to s = 0, which only the decoder uses: (B,) float64.

    The released code puts beta~_2 at t = 1: the posterior variance of the step before. In a chain over fewer steps the
    step before is as long as this one, from 2t to t. With no step before (T = 1, or one step from T) it is beta_{t|0}.
    """
    t, s = process.schedule.to_table_device(t), process.schedule.to_table_device(s)
    before = (2 * t - s).clamp(max=process.num_steps)
    has_step_before = before > t
    before = torch.where(has_step_before, before, t)
    beta, sigma2 = process.schedule.beta(before, t), process.schedule.sigma2(before)
    ratio = process.schedule.sigma2(t) / torch.where(sigma2 > 0, sigma2, 1)
    return torch.where(has_step_before, beta * ratio, process.schedule.beta(t, s))
