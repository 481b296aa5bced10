"""Training objectives: the loss per image."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.bound import bits_per_dim, bound_term, prior_kl
from lit_diffusion.diffusion.reverse import ReverseModel, ReversePrediction
from lit_diffusion.diffusion.timesteps import Draw, Timesteps, Uniform
from lit_diffusion.diffusion.weighting import Constant, Weighting
from lit_diffusion.errors import ConfigError
from lit_diffusion.seeding import seed_step


class Objective(nn.Module, ABC):
    """A loss per image: the mean over t of a loss per step, estimated at the steps that `timesteps` draws.

    Steps and noise come from torch's global generator, which the training loop seeds at every step. trains_schedule:
    whether minimising it makes sense for the noise schedule too.
    """

    trains_schedule = False

    def __init__(self, timesteps: Timesteps | None = None):
        super().__init__()
        self.timesteps = Uniform() if timesteps is None else timesteps

    def bind(self, reverse: ReverseModel) -> None:
        """Called once before training. Raises ConfigError if the objective cannot train this reverse model."""
        schedule = reverse.process.schedule
        if schedule.learned and not (self.trains_schedule and reverse.passes_schedule_gradient):
            what = type(self).__name__ if reverse.passes_schedule_gradient else type(reverse).__name__
            raise ConfigError(
                f"expected the bound of a Gaussian model, which alone can train {type(schedule).__name__}, got {what}; "
                "use VariationalBound with GaussianReverse, or a fixed schedule",
                key="model.objective",
            )
        if schedule.learned and not self.timesteps.memoryless:
            raise ConfigError(
                f"expected timesteps without a memory of losses, since a learned schedule changes their noise, got "
                f"{type(self.timesteps).__name__}; use Uniform or LowDiscrepancy",
                key="model.objective.timesteps",
            )
        self.timesteps.bind(reverse.num_steps)

    def draw(self, reverse: ReverseModel, x_0: Tensor) -> tuple[Draw, Tensor]:
        """All randomness in the loss of images x_0 (B, *): K steps each, and base draws (B, K, *) for x_t.

        Base draws are eps of Gaussian processes, uniform numbers of binomial ones (see `Distribution.draw_base`).
        """
        draw = self.timesteps.draw(len(x_0), x_0.device)
        return draw, reverse.process.kind.draw_base(x_0.new_empty(*draw.t.shape, *x_0.shape[1:]))

    def forward(self, reverse: ReverseModel, x_0: Tensor, drawn: tuple[Draw, Tensor] | None = None) -> Tensor:
        """The loss of each image x_0 (B, *): (B,). drawn: as `draw` returns it, by default a fresh draw."""
        draw, base = self.draw(reverse, x_0) if drawn is None else drawn
        images = x_0.repeat_interleave(draw.t.shape[1], dim=0)  # (B * K, *)
        if draw.t.shape[1] > 1:
            reverse = reverse.select(torch.arange(len(x_0), device=x_0.device).repeat_interleave(draw.t.shape[1]))
        t, base = draw.t.flatten(), base.flatten(0, 1)
        prediction = reverse.predict(reverse.process.marginal(images, t).rsample(base), t)
        losses = self.loss(prediction, images, base)
        if self.training:
            self.timesteps.update(t, losses.detach())
        return (losses.view_as(draw.t) * draw.weight).sum(1) + self.step_free_loss(reverse, x_0)

    def step_free_loss(self, reverse: ReverseModel, x_0: Tensor) -> Tensor:
        """The part of the loss that does not depend on t, (B,)."""
        return x_0.new_zeros(len(x_0))

    @abstractmethod
    def loss(self, prediction: ReversePrediction, x_0: Tensor, base: Tensor) -> Tensor:
        """The loss (N,) of one prediction for each of N images x_0 (N, *), with x_t drawn by `base` (N, *)."""


class Simple(Objective):
    """L_simple: mean squared error of the network's target  (Ho et al. 2020, eq. 14); mean cross entropy for
    binary data.

    Unit: squared error or nats per dimension, times the weighting. Refuses a learned variance, which it does not train.
    """

    def __init__(self, timesteps: Timesteps | None = None, weighting: Weighting = Constant()):
        super().__init__(timesteps)
        self.weighting = weighting

    def bind(self, reverse: ReverseModel) -> None:
        super().bind(reverse)
        if self.weighting.needs_eps and not reverse.has_eps:
            raise ConfigError(
                f"expected a weighting of cross entropies for {type(reverse).__name__}, got "
                f"{type(self.weighting).__name__}, which weights squared errors; use Constant",
                key="model.objective.weighting",
            )
        if reverse.learns_variance:
            raise ConfigError(
                f"Simple does not train a variance, but model.reverse.variance is {reverse.protocol['variance']}; use "
                "VariationalBound or Hybrid, or BetaVariance",
                key="model.objective",
            )

    def loss(self, prediction: ReversePrediction, x_0: Tensor, base: Tensor) -> Tensor:
        error = prediction.simple_loss(x_0, base).flatten(1).mean(1)
        return self.weighting(prediction.reverse, prediction.t).to(error) * error


class VariationalBound(Objective):
    """L: one random term of the bound an image, L_{t-1} or, at t = 1, L_0  (Ho et al. 2020, eqs. 5 and 13).

    scale: `per_term` is the mean of one term in bits/dim, as the released code trains; `times_T` is T times that, an
    unbiased estimate of the whole bound in bits/dim without L_T, as Nichol & Dhariwal 2021 train. The two differ in how
    gradient clipping and Adam's eps act. L_T is added if the schedule is learned, in the same unit (L_T / T for
    per_term); otherwise it has no parameters and is left out. frozen_noise: every batch has the noise and steps of the
    first, as in Sohl-Dickstein et al. 2015: a deterministic loss, biased by that one draw.

    Refuses a schedule whose bound is infinite because early steps add no noise and later ones do.
    """

    trains_schedule = True

    def __init__(
        self,
        timesteps: Timesteps | None = None,
        scale: Literal["per_term", "times_T"] = "per_term",
        frozen_noise: bool = False,
    ):
        super().__init__(timesteps)
        if scale not in ("per_term", "times_T"):
            raise ConfigError(f"scale: expected per_term or times_T, got {scale}")
        self.scale, self.frozen_noise = scale, frozen_noise

    def bind(self, reverse: ReverseModel) -> None:
        super().bind(reverse)
        refuse_infinite_bound(reverse, self)

    def loss(self, prediction: ReversePrediction, x_0: Tensor, base: Tensor) -> Tensor:
        terms = 1 if self.scale == "per_term" else prediction.reverse.num_steps
        return terms * bits_per_dim(bound_term(prediction, x_0), x_0)

    def draw(self, reverse: ReverseModel, x_0: Tensor) -> tuple[Draw, Tensor]:
        if not self.frozen_noise:
            return super().draw(reverse, x_0)
        with torch.random.fork_rng([x_0.device] if x_0.device.type == "cuda" else []):
            seed_step(0, x_0.device)
            return super().draw(reverse, x_0)

    def step_free_loss(self, reverse: ReverseModel, x_0: Tensor) -> Tensor:
        if not reverse.process.schedule.learned:
            return super().step_free_loss(reverse, x_0)
        terms = reverse.num_steps if self.scale == "per_term" else 1
        return bits_per_dim(prior_kl(reverse, x_0), x_0) / terms


class Hybrid(Objective):
    """L_hybrid = L_simple + weight * L, where L trains the variance alone  (Nichol & Dhariwal 2021, eq. 16).

    weight: lambda, on the full T-term bound in bits/dim. Refuses a fixed variance, which L cannot train.
    """

    def __init__(self, timesteps: Timesteps | None = None, weight: float = 0.001):
        super().__init__(timesteps)
        self.weight = weight

    def bind(self, reverse: ReverseModel) -> None:
        super().bind(reverse)
        if not reverse.learns_variance:
            fixed = reverse.protocol.get("variance")
            raise ConfigError(
                f"Hybrid trains a variance by the bound, but model.reverse.variance is {fixed}, which is fixed; use "
                "LearnedRange, or Simple"
                if fixed
                else f"Hybrid trains a variance, but {type(reverse).__name__} has none; use VariationalBound or Simple",
                key="model.objective",
            )
        refuse_infinite_bound(reverse, self)

    def loss(self, prediction: ReversePrediction, x_0: Tensor, base: Tensor) -> Tensor:
        simple = prediction.simple_loss(x_0, base).flatten(1).mean(1)
        term = bits_per_dim(bound_term(prediction.detach_mean(), x_0), x_0)
        return simple + self.weight * prediction.reverse.num_steps * term


def refuse_infinite_bound(reverse: ReverseModel, objective: Objective) -> None:
    """Raises ConfigError if some L_{t-1} is infinite because the steps before t add no noise."""
    step = reverse.process.first_infinite_term()
    if step is not None:
        raise ConfigError(
            f"expected a schedule with a finite bound for {type(objective).__name__}, got "
            f"{type(reverse.process.schedule).__name__}, which adds noise at step {step} but not before; make beta_1 "
            "positive, or use Simple",
            key="model.objective",
        )
