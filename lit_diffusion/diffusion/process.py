"""The forward process q: from data to noise."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.distributions import Bernoulli, Distribution, Gaussian
from lit_diffusion.diffusion.schedule import NoiseSchedule, spread
from lit_diffusion.errors import ConfigError


class Process(nn.Module, ABC):
    """A forward process between any two steps 0 <= s < t <= T.

    Examples are (B, *) floats; t and s are (B,) integers. Everything follows from alpha_{t|s} = alpha_bar_t /
    alpha_bar_s, so that a chain over a subset of the steps needs no other tables. schedule: beta_1..beta_T.
    """

    kind: type[Distribution]

    def __init__(self, schedule: NoiseSchedule):
        super().__init__()
        self.schedule = schedule

    @property
    def num_steps(self) -> int:
        """T."""
        return self.schedule.num_steps

    @abstractmethod
    def marginal(self, x_0: Tensor, t: Tensor) -> Distribution:
        """q(x_t | x_0)."""

    @abstractmethod
    def step(self, x_s: Tensor, t: Tensor, s: Tensor) -> Distribution:
        """q(x_t | x_s)."""

    @abstractmethod
    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Distribution:
        """q(x_s | x_t, x_0)."""

    @abstractmethod
    def prior(self, shape: tuple[int, ...], device: torch.device | None = None) -> Distribution:
        """p(x_T) over tensors of `shape` (B, *)."""

    def posterior_coefficients(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance of the posterior as coefficients, (B,) float64 each; only if the noise is Gaussian."""
        raise NotImplementedError(f"{type(self).__name__} has no posterior mean in x_0 and x_t")

    def eps(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The eps that leads from x_0 to x_t, (B, *); only if the noise is Gaussian."""
        raise NotImplementedError(f"{type(self).__name__} has no eps")

    def first_infinite_term(self) -> int | None:
        """The first t >= 2 with an infinite L_{t-1}: q(x_{t-1} | x_t, x_0) is a point although beta_t > 0.

        None by default: a distribution over finitely many values is never a point where another is not.
        """
        return None


class GaussianProcess(Process):
    """The Gaussian forward process of Ho et al. 2020, section 2, for x_0 in [-1, 1] or any real data."""

    kind = Gaussian

    def marginal(self, x_0: Tensor, t: Tensor) -> Gaussian:
        """q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)  (Ho et al. 2020, eq. 4)."""
        signal, sigma2 = self.schedule.alpha_bar(t).sqrt(), self.schedule.sigma2(t)  # (B,)
        return Gaussian(spread(signal, x_0) * x_0, spread(sigma2, x_0))

    def step(self, x_s: Tensor, t: Tensor, s: Tensor) -> Gaussian:
        """q(x_t | x_s) = N(sqrt(alpha_{t|s}) x_s, beta_{t|s} I)  (Ho et al. 2020, eq. 2, with t-1 replaced by s)."""
        signal, beta = self.schedule.alpha(t, s).sqrt(), self.schedule.beta(t, s)  # (B,)
        return Gaussian(spread(signal, x_s) * x_s, spread(beta, x_s))

    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Gaussian:
        """q(x_s | x_t, x_0) for any 0 <= s < t  (Ho et al. 2020, eqs. 6-7, with t-1 replaced by s).

        The variance is zero where s = 0. Where x_t has no noise (beta = 0 so far) x_s = x_t.
        """
        c_0, c_t, variance = self.posterior_coefficients(t, s)
        return Gaussian(spread(c_0, x_t) * x_0 + spread(c_t, x_t) * x_t, spread(variance, x_t))

    def posterior_coefficients(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights of x_0 and x_t in the posterior mean, and the posterior variance beta~_{t|s}: (B,) float64 each."""
        beta, sigma2_t, sigma2_s = self.schedule.beta(t, s), self.schedule.sigma2(t), self.schedule.sigma2(s)
        noisy = sigma2_t > 0
        sigma2_t = torch.where(noisy, sigma2_t, 1)
        c_0 = self.schedule.alpha_bar(s).sqrt() * beta / sigma2_t
        c_t = torch.where(noisy, self.schedule.alpha(t, s).sqrt() * sigma2_s / sigma2_t, 1)
        return c_0, c_t, beta * sigma2_s / sigma2_t

    def eps(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The eps that leads from x_0 to x_t: (x_t - sqrt(alpha_bar_t) x_0) / sqrt(1 - alpha_bar_t).

        Zero where x_t has no noise: nothing there depends on it.
        """
        sigma2 = self.schedule.sigma2(t)
        inverse = torch.where(sigma2 > 0, sigma2.clamp(min=torch.finfo(sigma2.dtype).tiny).rsqrt(), 0)
        return spread(inverse, x_t) * (x_t - spread(self.schedule.alpha_bar(t).sqrt(), x_t) * x_0)

    def first_infinite_term(self) -> int | None:
        t = self.schedule.steps()[1:]
        infinite = (self.posterior_coefficients(t, t - 1)[2] == 0) & (self.schedule.beta(t, t - 1) > 0)
        return int(t[infinite][0]) if infinite.any() else None

    def prior(self, shape: tuple[int, ...], device: torch.device | None = None) -> Gaussian:
        """p(x_T) = N(0, I) over tensors of `shape` (B, *)."""
        return Gaussian(
            torch.zeros(shape, device=device), torch.ones([shape[0]] + [1] * (len(shape) - 1), device=device)
        )


class BinomialProcess(Process):
    """The binomial forward process of Sohl-Dickstein et al. 2015, section 2.1 and table App.1, for x_0 in {-1, 1}.

    Each step keeps a value with probability 1 - beta, and otherwise redraws it: 1 with probability `rate`, else -1.

    Raises ConfigError unless 0 < rate < 1.
    """

    kind = Bernoulli

    def __init__(self, schedule: NoiseSchedule, rate: float = 0.5):
        super().__init__(schedule)
        if not 0 < rate < 1:
            raise ConfigError(f"rate: expected a number in (0, 1), so that both values occur, got {rate:g}; use 0.5")
        self.rate = rate

    def marginal(self, x_0: Tensor, t: Tensor) -> Bernoulli:
        """q(x_t = 1 | x_0) = alpha_bar_t [x_0 = 1] + rate (1 - alpha_bar_t)."""
        return self._kept(x_0, self.schedule.alpha_bar(t), self.schedule.sigma2(t))

    def step(self, x_s: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        """q(x_t = 1 | x_s) = alpha_{t|s} [x_s = 1] + rate beta_{t|s}."""
        return self._kept(x_s, self.schedule.alpha(t, s), self.schedule.beta(t, s))

    def _kept(self, x: Tensor, kept: Tensor, drawn: Tensor) -> Bernoulli:
        kept, drawn, one = spread(kept, x), spread(drawn, x), (x > 0).to(x)
        return Bernoulli(kept * one + self.rate * drawn, kept * (1 - one) + (1 - self.rate) * drawn)

    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        """q(x_s | x_t, x_0) for any 0 <= s < t, proportional to q(x_t | x_s) q(x_s | x_0) by Bayes' rule.

        A point at x_0 where s = 0. Where x_t cannot follow from x_0, a point at x_t.
        """
        before = self.marginal(x_0, s)
        of_one, of_other = (self.step(torch.full_like(x_t, value), t, s) for value in (1.0, -1.0))
        up, down = (torch.where(x_t > 0, one.rate, one.complement) for one in (of_one, of_other))
        up, down = up * before.rate, down * before.complement
        total = up + down
        possible, one = total > 0, (x_t > 0).to(x_t)
        total = torch.where(possible, total, 1)
        return Bernoulli(torch.where(possible, up / total, one), torch.where(possible, down / total, 1 - one))

    def prior(self, shape: tuple[int, ...], device: torch.device | None = None) -> Bernoulli:
        """p(x_T = 1) = rate, independently, over tensors of `shape` (B, *)."""
        return Bernoulli(torch.full(shape, self.rate, device=device), torch.full(shape, 1 - self.rate, device=device))
