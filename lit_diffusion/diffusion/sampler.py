"""Samplers: from noise to images, over any subset of the steps."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_diffusion.diffusion.distributions import Distribution, Gaussian
from lit_diffusion.diffusion.reverse import ReverseModel, ReversePrediction
from lit_diffusion.diffusion.schedule import spread
from lit_diffusion.errors import ConfigError


@dataclass(frozen=True)
class Step:
    """One step of a chain, from t to s: the image x_s (B, *) and the progressive estimate x_0 (B, *) made at t."""

    t: int
    s: int
    x_s: Tensor
    x_0: Tensor


class Sampler(ABC):
    """A reverse chain over a subset of the steps 1..T.

    steps: how many, evenly spread with both ends as in Nichol & Dhariwal 2021, or which ones, or null for all T.
    The number of network evaluations (nfe) is the number of steps. needs_eps: whether it works for models with Gaussian
    noise only.
    """

    needs_eps = False

    def __init__(self, steps: int | list[int] | None = None):
        if isinstance(steps, list) and (not steps or steps[0] < 1 or steps != sorted(set(steps))):
            raise ConfigError(
                f"{type(self).__name__}.steps: expected ascending steps from 1 to T, or their number, got {steps}"
            )
        if isinstance(steps, int) and steps < 1:
            raise ConfigError(f"{type(self).__name__}.steps: expected 1 or more, or null for all T, got {steps}")
        self.steps = steps

    def check_model(self, reverse: ReverseModel) -> None:
        """Raises ConfigError if the chain has steps that the model lacks, or the model has no eps and the sampler needs
        one.
        """
        self.check(reverse.num_steps)
        if self.needs_eps and not reverse.has_eps:
            raise ConfigError(
                f"expected a model with Gaussian noise for {type(self).__name__}, got {type(reverse).__name__}; use "
                "AncestralSampler"
            )
        reverse.check_steps(self.subset(reverse.num_steps))

    def check(self, num_steps: int) -> None:
        """Raises ConfigError if the chain is longer than the model's T = `num_steps`."""
        last = self.steps[-1] if isinstance(self.steps, list) else self.steps
        if last is not None and last > num_steps:
            what = f"step {last}" if isinstance(self.steps, list) else f"{last}"
            raise ConfigError(f"{type(self).__name__}.steps: expected at most the model's T = {num_steps}, got {what}")

    def shortened(self, num_steps: int) -> "Sampler":
        """A copy with at most T = `num_steps` steps."""
        sampler = copy.copy(self)
        if isinstance(self.steps, int):
            sampler.steps = min(self.steps, num_steps)
        return sampler

    @property
    def deterministic(self) -> bool:
        """Whether x_0 is a function of x_T, so that images have latents (see `encode`)."""
        return False

    def encode(self, reverse: ReverseModel, x_0: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(t, x_t) from images x_0 (B, *) up to their latents x_T; only deterministic samplers implement it."""
        raise NotImplementedError(f"{type(self).__name__} is not deterministic")

    def subset(self, num_steps: int) -> Sequence[int]:
        """The steps that the chain visits, ascending."""
        self.check(num_steps)
        if self.steps is None:
            return range(1, num_steps + 1)
        if isinstance(self.steps, list):
            return self.steps
        if self.steps == 1:
            return [num_steps]
        return [1 + round(i * (num_steps - 1) / (self.steps - 1)) for i in range(self.steps)]

    @torch.no_grad()
    def chain(self, reverse: ReverseModel, x: Tensor, generator: torch.Generator | None = None) -> Iterator[Step]:
        """The steps of the chain from x = x_T (B, *) down to x_0; the last step adds no noise."""
        steps = self.subset(reverse.num_steps)
        reverse.check_steps(steps)
        for t, s in zip(reversed(steps), [*reversed(steps[:-1]), 0]):
            at_t, at_s = (torch.full((len(x),), step, device=x.device) for step in (t, s))
            prediction = reverse.predict(x, at_t, clip=True)
            p = self.transition(prediction, at_s)
            x = p.sample(generator) if s else p.outcome(generator)
            yield Step(t, s, x, prediction.x_0)

    def __call__(
        self, reverse: ReverseModel, shape: tuple[int, ...], generator: torch.Generator | None = None
    ) -> Tensor:
        """Samples x_0 of `shape` (B, *), on the model's device, all randomness from `generator`."""
        x = reverse.process.prior(shape, reverse.device).sample(generator)
        for step in self.chain(reverse, x, generator):
            x = step.x_s
        return x

    @abstractmethod
    def transition(self, prediction: ReversePrediction, s: Tensor) -> Distribution:
        """The distribution of x_s for steps s (B,)."""


class AncestralSampler(Sampler):
    """x_s ~ p(x_s | x_t), the model's reverse process  (Ho et al. 2020, algorithm 2)."""

    def transition(self, prediction: ReversePrediction, s: Tensor) -> Distribution:
        return prediction.transition(s)


class DDIMSampler(Sampler):
    """The non-Markovian process of Song et al. 2020 (arXiv 2010.02502, eq. 12), with sigma = eta sqrt(beta~_{t|s}).

    eta: 0 is deterministic, 1 is the ancestral sampler with the posterior variance. eps follows from the clipped x_0.
    """

    needs_eps = True

    def __init__(self, steps: int | list[int] | None = None, eta: float = 0.0):
        super().__init__(steps)
        if not 0 <= eta <= 1:
            raise ConfigError(
                f"DDIMSampler.eta: expected a number in [0, 1], got {eta:g}; use 0 for the deterministic sampler"
            )
        self.eta = eta

    @property
    def deterministic(self) -> bool:
        return self.eta == 0

    def transition(self, prediction: ReversePrediction, s: Tensor) -> Gaussian:
        process, x_0 = prediction.reverse.process, prediction.x_0
        variance = self.eta**2 * process.posterior_coefficients(prediction.t, s)[2]
        signal = process.schedule.alpha_bar(s).sqrt()
        # rounding may fall below zero at eta = 1
        direction = (process.schedule.sigma2(s) - variance).clamp(min=0).sqrt()
        mean = spread(signal, x_0) * x_0 + spread(direction, x_0) * prediction.eps
        return Gaussian(mean, spread(variance, x_0))

    @torch.no_grad()
    def encode(self, reverse: ReverseModel, x_0: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(t, x_t) from images x_0 (B, *) up to their latents x_T: the chain of eta = 0 backwards.

        The ODE of Song et al. 2020, section 4.3, in Euler steps from s to t > s with the eps predicted at s:
        x_t / sqrt(alpha_bar_t) - x_s / sqrt(alpha_bar_s) = (sigma_t - sigma_s) eps, where sigma^2 = 1 / alpha_bar - 1.
        The network has no step 0 and is evaluated at the chain's first step there. eps follows from the clipped x_0.
        """
        x, process, steps = x_0, reverse.process, self.subset(reverse.num_steps)
        for s, t in zip([0, *steps], steps):
            at_s, at_t = (torch.full((len(x),), step, device=x.device) for step in (s, t))
            eps = reverse.predict(x, at_s.clamp(min=steps[0]), clip=True).eps
            kept = process.schedule.alpha(at_t, at_s).sqrt()
            added = process.schedule.sigma2(at_t).sqrt() - kept * process.schedule.sigma2(at_s).sqrt()
            x = spread(kept, x) * x + spread(added, x) * eps
            yield t, x
