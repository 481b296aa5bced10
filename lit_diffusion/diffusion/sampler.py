"""Samplers: from noise to images, over any subset of the steps; the reverse process itself. Solvers: solvers.py."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lit_diffusion.diffusion.distributions import Distribution
from lit_diffusion.diffusion.reverse import ReverseModel, ReversePrediction
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.diffusion.step_spacing import SPACINGS
from lit_diffusion.errors import ConfigError

Spacing = Literal["uniform", "log_snr", "quadratic"]


@dataclass(frozen=True)
class Step:
    """One step of a chain, from t to s: images x_t, x_s (B, *), and the progressive estimate x_0 (B, *) made at t."""

    t: int
    s: int
    x_t: Tensor
    x_s: Tensor
    x_0: Tensor


class Sampler(ABC):
    """A reverse chain over a subset of the steps 1..T.

    steps: how many, with both ends, or which ones, or null for all T. spacing: whether the steps are spread evenly
    over t, log SNR, or sqrt(t - 1); for a list, leave it out. guidance_scale: w of classifier-free guidance, for models
    with labels; 0 for none, -1 for the model without labels, see `NetworkReverse.evaluate`. needs_eps: whether it
    works for models with Gaussian noise only.
    """

    needs_eps = False

    def __init__(self, steps: int | list[int] | None = None, spacing: Spacing = "uniform", guidance_scale: float = 0.0):
        if not -1 <= guidance_scale < math.inf:
            raise ConfigError(
                f"{type(self).__name__}.guidance_scale: expected a finite number, -1 (the model without labels) or "
                f"more, got {guidance_scale:g}"
            )
        if spacing not in SPACINGS:
            raise ConfigError(f"{type(self).__name__}.spacing: expected {' or '.join(SPACINGS)}, got {spacing}")
        if isinstance(steps, list) and spacing != "uniform":
            raise ConfigError(
                f"{type(self).__name__}.spacing: expected the number of steps with {spacing}, got a list of steps; "
                "leave spacing out, or give the number"
            )
        if isinstance(steps, list) and (not steps or steps[0] < 1 or steps != sorted(set(steps))):
            raise ConfigError(
                f"{type(self).__name__}.steps: expected ascending steps from 1 to T, or their number, got {steps}"
            )
        if isinstance(steps, int) and steps < 1:
            raise ConfigError(f"{type(self).__name__}.steps: expected 1 or more, or null for all T, got {steps}")
        self.steps, self.spacing, self.guidance_scale = steps, spacing, guidance_scale

    def check_model(self, reverse: ReverseModel) -> None:
        """Raises ConfigError if the chain has steps that the model lacks, if the model has no eps and the sampler needs
        one, or if the model cannot be guided.
        """
        self.check(reverse.num_steps)
        reverse.guided(self.guidance_scale)
        if self.needs_eps and not reverse.has_eps:
            raise ConfigError(
                f"expected a model with Gaussian noise for {type(self).__name__}, got {type(reverse).__name__}; use "
                "AncestralSampler"
            )
        reverse.check_steps(self.subset(reverse.process.schedule))

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

    def subset(self, schedule: NoiseSchedule) -> Sequence[int]:
        """The steps that the chain visits, ascending."""
        num_steps = schedule.num_steps
        self.check(num_steps)
        if self.steps is None:
            return range(1, num_steps + 1)
        if isinstance(self.steps, list):
            return self.steps
        return SPACINGS[self.spacing](schedule, self.steps) if self.steps > 1 else [num_steps]

    def nfe(self, schedule: NoiseSchedule) -> int:
        """The number of evaluations of the network for a sample: one a step, two with guidance."""
        return self.evaluations(len(self.subset(schedule))) * (2 if self.guidance_scale else 1)

    def evaluations(self, num_steps: int) -> int:
        """How often a chain of `num_steps` steps asks the model."""
        return num_steps

    @torch.no_grad()
    def chain(self, reverse: ReverseModel, x: Tensor, generator: torch.Generator | None = None) -> Iterator[Step]:
        """The steps of the chain from x = x_T (B, *) down to x_0; the last step adds no noise."""
        steps, reverse = self.subset(reverse.process.schedule), reverse.guided(self.guidance_scale)
        reverse.check_steps(steps)
        before: ReversePrediction | None = None
        for t, s in zip(reversed(steps), [*reversed(steps[:-1]), 0]):
            at_t, at_s = (torch.full((len(x),), step, device=x.device) for step in (t, s))
            prediction = reverse.predict(x, at_t, clip=True)
            p = self.step(reverse, prediction, at_s, before) if s else self.transition(prediction, at_s)
            x_s = p.sample(generator) if s else p.outcome(generator)
            yield Step(t, s, x, x_s, prediction.x_0)
            x = x_s
            before = prediction

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
        """The distribution of x_s for steps s (B,), from one evaluation of the network."""

    def step(
        self, reverse: ReverseModel, prediction: ReversePrediction, s: Tensor, before: ReversePrediction | None
    ) -> Distribution:
        """The distribution of x_s for steps s (B,) > 0; by default `transition`.

        A solver of higher order may evaluate `reverse` again, or use the prediction of the step `before` (None at the
        first). The last step, to s = 0, is always `transition`.
        """
        return self.transition(prediction, s)


class AncestralSampler(Sampler):
    """x_s ~ p(x_s | x_t), the model's reverse process  (Ho et al. 2020, algorithm 2)."""

    def transition(self, prediction: ReversePrediction, s: Tensor) -> Distribution:
        return prediction.transition(s)
