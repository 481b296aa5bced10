"""Reverse models: a network and a process make p(x_s | x_t)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.decoder import Decoder, DiscretizedGaussian
from lit_diffusion.diffusion.distributions import Distribution, Gaussian
from lit_diffusion.diffusion.parameterization import Epsilon, Parameterization
from lit_diffusion.diffusion.process import GaussianProcess, Process
from lit_diffusion.diffusion.variance import BetaVariance, Variance
from lit_diffusion.errors import ConfigError


class Prediction(ABC):
    """What one evaluation of the network for x_t (B, *) at steps t (B,) says about any earlier x_s.

    output: what the network predicted, (B, *). x_0: the clean example that it stands for, (B, *).
    """

    reverse: "ReverseModel"
    x_t: Tensor
    t: Tensor
    output: Tensor
    x_0: Tensor

    @abstractmethod
    def transition(self, s: Tensor) -> Distribution:
        """p(x_s | x_t) for steps s (B,), s < t."""

    @abstractmethod
    def simple_loss(self, x_0: Tensor, noise: Tensor) -> Tensor:
        """The element-wise loss (B, *) of L_simple, if x_t came from x_0 by `noise`."""


class ReverseModel(nn.Module, ABC):
    """p(x_s | x_t) for all steps s < t: owns process and network; objectives, bound and samplers receive it.

    network: called once with (input channels, output channels) and returns a module that is called with x_t
        (B, C, *) and the index t - 1 (B,).
    channels: C of the examples: of images, or the length of vectors. outputs: channels that the network returns.
    """

    def __init__(self, process: Process, network: Callable[[int, int], nn.Module], channels: int, outputs: int):
        super().__init__()
        self.process, self.channels, self.outputs = process, channels, outputs
        try:
            self.network = network(channels, outputs)
        except ConfigError:
            raise  # the network has said itself what is wrong
        except (TypeError, ValueError) as error:
            raise network_error(f"cannot be built for {channels} input and {outputs} output channels", error) from error
        own = getattr(self.network, "num_steps", self.num_steps)
        if own != self.num_steps:
            raise ConfigError(
                f"the network has readouts for {own} steps, the schedule {self.num_steps}; write the same number",
                key="model.reverse.network",
            )

    @property
    def num_steps(self) -> int:
        """T."""
        return self.process.num_steps

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.parameters()).device

    @property
    def learns_variance(self) -> bool:
        """Whether the network has an output that L_simple would not train."""
        return False

    @property
    @abstractmethod
    def protocol(self) -> dict[str, object]:
        """What scores of its samples and of its bound depend on, beside the process and the weights."""

    @abstractmethod
    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> Prediction:
        """One evaluation of the network for x_t (B, *) at steps t (B,), in 1..T; `clip` asks for what sampling and
        evaluation use.
        """

    @abstractmethod
    def reconstruction_nll(self, x_0: Tensor, p: Distribution) -> Tensor:
        """-log p(x_0 | x_1) in nats, (B, *), for the distribution of the last step."""

    @abstractmethod
    def check_levels(self, num_levels: int | None) -> None:
        """Raises ConfigError unless the model is one of data with so many levels, None for real values."""

    def evaluate(self, x_t: Tensor, t: Tensor) -> Tensor:
        """What the network returns, (B, outputs, *), in the precision of x_t: mixed precision ends here."""
        output = self.network(x_t, t - 1).to(x_t.dtype)
        if output.shape[1] != self.outputs:
            who = type(getattr(self, "variance", self)).__name__
            raise ConfigError(
                f"the network returns {output.shape[1]} channels where {who} on examples of {self.channels} needs "
                f"{self.outputs}; let it take its output channels from its second argument",
                key="model.reverse.network",
            )
        return output

    @torch.no_grad()
    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        """Raises ConfigError unless channels, levels and network fit the data; runs the network on one example."""
        if shape[0] != self.channels:
            raise ConfigError(
                f"the data's examples have {shape[0]} channels, the model {self.channels}; "
                f"write model.reverse.channels: {shape[0]}",
                key="model.reverse.channels",
            )
        self.check_levels(num_levels)
        if hasattr(self.network, "check_image_shape"):
            self.network.check_image_shape(shape)
        training = self.training
        try:
            t = torch.ones(1, dtype=torch.long, device=self.device)
            output = self.eval().predict(torch.zeros(1, *shape, device=self.device), t).output
        except (RuntimeError, TypeError, StopIteration) as error:
            raise network_error(f"does not take examples of {shape} and steps", error) from error
        finally:
            self.train(training)
        if output.shape[1:] != shape:
            raise network_error(f"makes {tuple(output.shape[1:])} of examples of {shape}")


class GaussianReverse(ReverseModel):
    """p(x_s | x_t) = N(mu(x_t, t), sigma_t^2)  (Ho et al. 2020, section 3.2).

    network: called once with (input channels, output channels) and returns a module that is called with x_t
        (B, C, H, W) and the index t - 1 (B,). A learned variance doubles the output channels and nothing else changes.
    channels: C of the images.
    clip_x_0: clip the predicted x_0 to [-1, 1] in sampling and in evaluation, never in training.

    Raises ConfigError where the parameterization cannot work with the schedule.
    """

    def __init__(
        self,
        process: GaussianProcess,
        network: Callable[[int, int], nn.Module],
        parameterization: Parameterization = Epsilon(),
        variance: Variance = BetaVariance(),
        decoder: Decoder = DiscretizedGaussian(),
        channels: int = 3,
        clip_x_0: bool = True,
    ):
        parameterization.check(process)
        super().__init__(process, network, channels, 2 * channels if variance.learned else channels)
        self.parameterization = parameterization
        self.variance = variance
        self.decoder = decoder
        self.clip_x_0 = clip_x_0

    @property
    def learns_variance(self) -> bool:
        return self.variance.learned

    @property
    def protocol(self) -> dict[str, object]:
        return {"variance": type(self.variance).__name__, "clip_x_0": self.clip_x_0}

    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> "GaussianPrediction":
        """One evaluation of the network; `clip` asks for what sampling and evaluation use, if the model clips."""
        output = self.evaluate(x_t, t)
        raw_variance = None
        if self.variance.learned:
            output, raw_variance = output.chunk(2, dim=1)
        output = self.parameterization.read(
            output, x_t, lambda: self.variance(self.process, x_t, t, t - 1, raw_variance)
        )
        return GaussianPrediction(self, x_t, t, output, raw_variance, clip and self.clip_x_0)

    def reconstruction_nll(self, x_0: Tensor, p: Gaussian) -> Tensor:
        """-log p(x_0 | x_1) in nats, (B, *), by the discretized decoder."""
        return self.decoder.nll(x_0, p)

    def check_levels(self, num_levels: int | None) -> None:
        if num_levels != self.decoder.num_levels:
            raise ConfigError(
                f"the data has {levels_of(num_levels)}, the decoder {levels_of(self.decoder.num_levels)}; write "
                + (f"num_levels: {num_levels}" if num_levels else "GaussianDensity"),
                key="model.reverse.decoder.num_levels" if num_levels else "model.reverse.decoder",
            )
        if num_levels is None and self.clip_x_0:
            raise ConfigError(
                "real-valued data is not confined to [-1, 1]; write clip_x_0: false", key="model.reverse.clip_x_0"
            )


def levels_of(num_levels: int | None) -> str:
    """In words."""
    return "real values" if num_levels is None else f"{num_levels} levels"


def network_error(problem: str, cause: Exception | None = None) -> ConfigError:
    """What is wrong with a network, in one line."""
    reason = f" ({' '.join(str(cause).split())})" if cause and str(cause) else ""
    return ConfigError(
        f"the network {problem}{reason}; write one that is built by (input channels, output channels) and called with "
        "examples and steps, as UNet",
        key="model.reverse.network",
    )


class GaussianPrediction(Prediction):
    """What one evaluation of the network says about x_0, eps and any earlier x_s.

    output: what the network predicted, in its parameterization, (B, *); never clipped.
    x_0: the clean image it stands for, (B, *); clipped to [-1, 1] if the prediction was made with `clip`.
    """

    def __init__(
        self,
        reverse: GaussianReverse,
        x_t: Tensor,
        t: Tensor,
        output: Tensor,
        raw_variance: Tensor | None,
        clip: bool = False,
    ):
        self.reverse, self.x_t, self.t, self.output = reverse, x_t, t, output
        self._raw_variance, self._clip = raw_variance, clip

    @cached_property
    def x_0(self) -> Tensor:
        """The predicted clean image, (B, *)."""
        return self._unclipped.clamp(-1, 1) if self._clip else self._unclipped

    @cached_property
    def _unclipped(self) -> Tensor:
        return self.reverse.parameterization.to_x_0(self.reverse.process, self.output, self.x_t, self.t)

    @property
    def eps(self) -> Tensor:
        """The predicted noise, (B, *), consistent with `x_0`."""
        process = self.reverse.process
        if self._clip:
            return process.eps(self.x_0, self.x_t, self.t)
        return self.reverse.parameterization.to_eps(process, self.output, self.x_t, self.t)

    def transition(self, s: Tensor) -> Gaussian:
        """p(x_s | x_t) for steps s (B,), s < t: the posterior of the predicted x_0, with the model's variance."""
        reverse = self.reverse
        x_0 = self.x_0 if reverse.parameterization.clips_mean else self._unclipped
        mean = reverse.process.posterior(x_0, self.x_t, self.t, s).mean
        return Gaussian(mean, reverse.variance(reverse.process, self.x_t, self.t, s, self._raw_variance))

    def simple_loss(self, x_0: Tensor, noise: Tensor) -> Tensor:
        """The squared error on the network's own target, (B, *)  (Ho et al. 2020, eq. 14)."""
        reverse = self.reverse
        return (reverse.parameterization.target(reverse.process, x_0, self.x_t, noise, self.t) - self.output) ** 2

    def detach_mean(self) -> "GaussianPrediction":
        """The same prediction, whose gradient reaches the network through the variance only."""
        return GaussianPrediction(self.reverse, self.x_t, self.t, self.output.detach(), self._raw_variance, self._clip)
