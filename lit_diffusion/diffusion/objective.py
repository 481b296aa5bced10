"""Training objectives: what is minimised, per image."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.bound import bits_per_dim, bound_term, prior_kl
from lit_diffusion.diffusion.gaussian import GaussianPrediction, GaussianReverse
from lit_diffusion.diffusion.reverse import Prediction, ReverseModel
from lit_diffusion.diffusion.timesteps import Draw, Timesteps, Uniform
from lit_diffusion.diffusion.weighting import Constant, Weighting
from lit_diffusion.errors import ConfigError
from lit_diffusion.seeding import seed_step


class Objective(nn.Module, ABC):
    """A loss per image: the mean over t of a loss per step, estimated at the steps that `timesteps` draws.

    Noise and steps come from torch's global generator, which the training loop seeds at every step. trains_schedule:
    its minimum is one for the noise schedule too.
    """

    trains_schedule = False

    def __init__(self, timesteps: Timesteps | None = None):
        super().__init__()
        self.timesteps = Uniform() if timesteps is None else timesteps

    def bind(self, reverse: ReverseModel) -> None:
        """Called once before training. Raises ConfigError where objective and reverse model contradict each other."""
        schedule = reverse.process.schedule
        if schedule.learned and not (self.trains_schedule and isinstance(reverse, GaussianReverse)):
            what = type(self).__name__ if isinstance(reverse, GaussianReverse) else type(reverse).__name__
            raise ConfigError(
                f"{type(schedule).__name__} is learned by the bound of a Gaussian model, and {what} would exploit it "
                "or has no gradient for it; write VariationalBound with GaussianReverse, or a fixed schedule",
                key="model.objective",
            )
        if schedule.learned and not self.timesteps.memoryless:
            raise ConfigError(
                f"{type(self.timesteps).__name__} remembers losses of steps, whose noise a learned schedule changes; "
                "write Uniform or LowDiscrepancy",
                key="model.objective.timesteps",
            )
        self.timesteps.bind(reverse.num_steps)

    def draw(self, reverse: ReverseModel, x_0: Tensor) -> tuple[Draw, Tensor]:
        """All that is random in the loss of images x_0 (B, *): K steps each, and noise (B, K, *)."""
        draw = self.timesteps.draw(len(x_0), x_0.device)
        return draw, reverse.process.kind.draw_noise(x_0.new_empty(*draw.t.shape, *x_0.shape[1:]))

    def forward(self, reverse: ReverseModel, x_0: Tensor, drawn: tuple[Draw, Tensor] | None = None) -> Tensor:
        """The loss of each image x_0 (B, *): (B,). `drawn`, of `draw`, fixes what is random."""
        draw, noise = self.draw(reverse, x_0) if drawn is None else drawn
        images = x_0.repeat_interleave(draw.t.shape[1], dim=0)  # (B * K, *)
        t, noise = draw.t.flatten(), noise.flatten(0, 1)
        prediction = reverse.predict(reverse.process.marginal(images, t).reparameterize(noise), t)
        losses = self.loss(prediction, images, noise)
        if self.training:
            self.timesteps.update(t, losses.detach())
        return (losses.view_as(draw.t) * draw.weight).sum(1) + self.beside_steps(reverse, x_0)

    def beside_steps(self, reverse: ReverseModel, x_0: Tensor) -> Tensor:
        """What belongs to no step, (B,)."""
        return x_0.new_zeros(len(x_0))

    @abstractmethod
    def loss(self, prediction: Prediction, x_0: Tensor, noise: Tensor) -> Tensor:
        """The loss (N,) of one prediction each for N images x_0 (N, *), whose noise was `noise`."""


class Simple(Objective):
    """L_simple: mean squared error on the network's own target  (Ho et al. 2020, eq. 14); for binary data mean cross
    entropy.

    Unit: squared error or nats per dimension, times the weighting. Refuses a learned variance, which it does not train.
    """

    def __init__(self, timesteps: Timesteps | None = None, weighting: Weighting = Constant()):
        super().__init__(timesteps)
        self.weighting = weighting

    def bind(self, reverse: ReverseModel) -> None:
        super().bind(reverse)
        if self.weighting.gaussian_only and not isinstance(reverse, GaussianReverse):
            raise ConfigError(
                f"{type(self.weighting).__name__} weighs squared errors, and {type(reverse).__name__} has none; write "
                "Constant",
                key="model.objective.weighting",
            )
        if reverse.learns_variance:
            raise ConfigError(
                f"Simple trains no variance, but model.reverse.variance is {type(reverse.variance).__name__}; use "
                "VariationalBound or Hybrid, or BetaVariance",
                key="model.objective",
            )

    def loss(self, prediction: Prediction, x_0: Tensor, noise: Tensor) -> Tensor:
        error = prediction.simple_loss(x_0, noise).flatten(1).mean(1)
        return self.weighting(prediction.reverse, prediction.t).to(error) * error


class VariationalBound(Objective):
    """L: one random term of the bound an image, L_{t-1} or, at t = 1, L_0  (Ho et al. 2020, eqs. 5 and 13).

    scale: `per_term` is the mean of one term in bits/dim, as the released code trains; `times_T` is T times that, an
    unbiased estimate of the whole bound in bits/dim without L_T, as Nichol & Dhariwal 2021 train. The two differ in how
    gradient clipping and Adam's eps act. L_T is added where the schedule is learned, in the same unit (L_T / T for
    per_term); else it has no parameters and is left out. frozen_noise: every batch has the noise and steps of the
    first, as in Sohl-Dickstein et al. 2015: a loss without noise, and biased by that one draw.

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
            raise ConfigError(f"scale: {scale} is no choice; write per_term or times_T")
        self.scale, self.frozen_noise = scale, frozen_noise

    def bind(self, reverse: ReverseModel) -> None:
        super().bind(reverse)
        refuse_infinite_bound(reverse, self)

    def loss(self, prediction: Prediction, x_0: Tensor, noise: Tensor) -> Tensor:
        terms = 1 if self.scale == "per_term" else prediction.reverse.num_steps
        return terms * bits_per_dim(bound_term(prediction, x_0), x_0)

    def draw(self, reverse: ReverseModel, x_0: Tensor) -> tuple[Draw, Tensor]:
        if not self.frozen_noise:
            return super().draw(reverse, x_0)
        with torch.random.fork_rng([x_0.device] if x_0.device.type == "cuda" else []):
            seed_step(0, x_0.device)
            return super().draw(reverse, x_0)

    def beside_steps(self, reverse: ReverseModel, x_0: Tensor) -> Tensor:
        if not reverse.process.schedule.learned:
            return super().beside_steps(reverse, x_0)
        terms = reverse.num_steps if self.scale == "per_term" else 1
        return bits_per_dim(prior_kl(reverse, x_0), x_0) / terms


class Hybrid(Objective):
    """L_hybrid = L_simple + weight * L, where L trains the variance alone  (Nichol & Dhariwal 2021, eq. 16).

    weight: lambda, on the full T-term bound in bits/dim. Refuses a fixed variance, on which L would have no effect.
    """

    def __init__(self, timesteps: Timesteps | None = None, weight: float = 0.001):
        super().__init__(timesteps)
        self.weight = weight

    def bind(self, reverse: ReverseModel) -> None:
        super().bind(reverse)
        if not isinstance(reverse, GaussianReverse):
            raise ConfigError(
                f"Hybrid trains a variance, and {type(reverse).__name__} has none; use VariationalBound or Simple",
                key="model.objective",
            )
        if not reverse.learns_variance:
            raise ConfigError(
                f"Hybrid trains a variance by the bound, but model.reverse.variance is "
                f"{type(reverse.variance).__name__}, which has nothing to learn; use LearnedRange, or Simple",
                key="model.objective",
            )
        refuse_infinite_bound(reverse, self)

    def loss(self, prediction: GaussianPrediction, x_0: Tensor, noise: Tensor) -> Tensor:
        simple = prediction.simple_loss(x_0, noise).flatten(1).mean(1)
        term = bits_per_dim(bound_term(prediction.detach_mean(), x_0), x_0)
        return simple + self.weight * prediction.reverse.num_steps * term


def refuse_infinite_bound(reverse: ReverseModel, objective: Objective) -> None:
    """Raises ConfigError where some posterior q(x_{t-1} | x_t, x_0) is a point although beta_t > 0."""
    if not isinstance(reverse, GaussianReverse):
        return  # a distribution over few values is never a point where another is none
    t = reverse.process.schedule.steps()[1:]
    variance = reverse.process.posterior_coefficients(t, t - 1)[2]
    infinite = (variance == 0) & (reverse.process.schedule.beta(t, t - 1) > 0)
    if infinite.any():
        raise ConfigError(
            f"{type(objective).__name__} is infinite for {type(reverse.process.schedule).__name__}: its first steps "
            f"add no noise and step {int(t[infinite][0])} does; make beta_1 positive, or use Simple",
            key="model.objective",
        )
