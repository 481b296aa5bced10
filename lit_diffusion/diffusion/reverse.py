"""Reverse models: a network and a process make p(x_s | x_t)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.condition import Condition
from lit_diffusion.diffusion.distributions import Distribution
from lit_diffusion.diffusion.process import Process
from lit_diffusion.errors import ConfigError


class ReversePrediction(ABC):
    """What one evaluation of the network for x_t (B, *) at steps t (B,) says about any earlier x_s.

    output: the network's output, in its parameterization, (B, *).
    """

    reverse: "ReverseModel"
    x_t: Tensor
    t: Tensor
    output: Tensor

    @property
    @abstractmethod
    def x_0(self) -> Tensor:
        """The predicted clean example, (B, *)."""

    @property
    def eps(self) -> Tensor:
        """The eps that leads from `x_0` to x_t, (B, *); only if `has_eps`."""
        raise NotImplementedError(f"{type(self).__name__} has no eps")

    @abstractmethod
    def transition(self, s: Tensor) -> Distribution:
        """p(x_s | x_t) for steps s (B,), s < t."""

    @abstractmethod
    def simple_loss(self, x_0: Tensor, base: Tensor) -> Tensor:
        """The element-wise loss of L_simple, (B, *), if x_t was drawn from q(x_t | x_0) with `base` (B, *)."""

    def detach_mean(self) -> "ReversePrediction":
        """The same prediction with gradients through the variance only; only if `learns_variance`."""
        raise NotImplementedError(f"{type(self).__name__} has no variance")

    @abstractmethod
    def multiply(self, condition: Condition, covariance: Callable[[], Tensor]) -> "ReversePrediction":
        """The prediction for p(x_0 | x_t) r(x_0), r given by `condition`; only if `predicts_x_0`.

        covariance: computes that of p(x_0 | x_t), (B, 1, 1) or (B, D, D), which binary values do not need.
        """


class ReverseModel(nn.Module, ABC):
    """p(x_s | x_t) for all steps s < t, and its process: what objectives, bound and samplers receive.

    They ask what it can do (`has_eps`, `learns_variance`, `passes_schedule_gradient`, `predicts_x_0`), never which
    class it is. What a model cannot do raises NotImplementedError, as in torch.distributions.
    """

    def __init__(self, process: Process):
        super().__init__()
        self.process = process

    @property
    def num_steps(self) -> int:
        """T."""
        return self.process.num_steps

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.parameters()).device

    @property
    def has_eps(self) -> bool:
        """Whether the noise is Gaussian: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps."""
        return False

    @property
    def learns_variance(self) -> bool:
        """Whether the network has an output for the variance, which L_simple would not train."""
        return False

    @property
    def passes_schedule_gradient(self) -> bool:
        """Whether the bound has a gradient with respect to the schedule, through x_t."""
        return False

    @property
    def predicts_x_0(self) -> bool:
        """Whether the network predicts x_0, or something that determines it, and not x_{t-1} alone."""
        return True

    @property
    def num_classes(self) -> int | None:
        """Of the labels that the model is conditioned on; None if on none."""
        return None

    @property
    def knows_no_label(self) -> bool:
        """Whether a model with labels was also trained without, so that it has p(x) next to p(x | label)."""
        return False

    def given(self, label: Tensor | None) -> "ReverseModel":
        """p(x_s | x_t, label) for labels (B,), on the device, of examples x_t (B, *); a model without labels itself."""
        return self

    def guided(self, scale: float) -> "ReverseModel":
        """The model under classifier-free guidance by w = `scale`, which samplers draw from; itself for 0.

        Raises ConfigError if the model cannot be guided.
        """
        if scale:
            raise ConfigError(
                f"guidance_scale: expected 0 for a model without labels, got {scale:g}; or set "
                "model.reverse.network.num_classes and train it"
            )
        return self

    def select(self, rows: Tensor) -> "ReverseModel":
        """The model given label[rows] (N,), for examples (N, *); a model without labels itself."""
        return self

    @property
    @abstractmethod
    def protocol(self) -> dict[str, object]:
        """What scores of samples and of the bound depend on, besides the process and the weights."""

    @abstractmethod
    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> ReversePrediction:
        """One evaluation of the network for x_t (B, *) at steps t (B,) in 1..T.

        clip: clip the predicted x_0 as in sampling and evaluation, if the model clips.
        """

    @abstractmethod
    def reconstruction_nll(self, x_0: Tensor, p: Distribution) -> Tensor:
        """-log p(x_0 | x_1) in nats, (B, *), for the distribution p of the last step."""

    def target_sensitivity(self, t: Tensor) -> Tensor:
        """Squared error of the network's target per unit of squared error of x_0, (B,) float64; only if `has_eps`."""
        raise NotImplementedError(f"{type(self).__name__} has no squared error")

    def bound_sensitivity(self, t: Tensor) -> Tensor:
        """Nats of L_{t-1} per unit of squared error of x_0, (B,) float64; only if `has_eps` and with a fixed variance.

        Zero where the variance is zero.
        """
        raise NotImplementedError(f"{type(self).__name__} has no squared error")

    def check_steps(self, steps: Sequence[int]) -> None:
        """Raises ConfigError if the chain cannot visit this ascending subset of 1..T only; by default any is fine."""

    @abstractmethod
    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        """Raises ConfigError unless the model fits examples of shape (C, *) with `num_levels`, None for reals."""
