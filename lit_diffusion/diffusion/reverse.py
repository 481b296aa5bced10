"""Reverse models: a network and a process make p(x_s | x_t)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.distributions import Distribution
from lit_diffusion.diffusion.process import Process
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
    """p(x_s | x_t) for all steps s < t: objectives, bound and samplers receive it. It owns the process."""

    def __init__(self, process: Process):
        super().__init__()
        self.process = process

    @property
    def num_steps(self) -> int:
        """T."""
        return self.process.num_steps

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.parameters()).device

    @property
    def has_eps(self) -> bool:
        """Whether the noise is Gaussian: x_t = signal x_0 + sigma eps."""
        return False

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

    def check_steps(self, steps: Sequence[int]) -> None:
        """Raises ConfigError where the model cannot go down that ascending subset of 1..T; by default it can any."""

    @abstractmethod
    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        """Raises ConfigError unless the model fits examples of shape (C, *) and so many levels, None for reals."""


class NetworkReverse(ReverseModel):
    """A reverse model that owns its network.

    network: called once with (input channels, output channels) and returns a module that is called with x_t
        (B, C, *) and the index t - 1 (B,).
    channels: C of the examples: of images, or the length of vectors. outputs: channels that the network returns, as
        `asked_by` needs them.
    """

    def __init__(
        self, process: Process, network: Callable[[int, int], nn.Module], channels: int, outputs: int, asked_by: object
    ):
        super().__init__(process)
        self.channels, self.outputs, self._asked_by = channels, outputs, type(asked_by).__name__
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

    @abstractmethod
    def check_levels(self, num_levels: int | None) -> None:
        """Raises ConfigError unless the model is one of data with so many levels, None for real values."""

    def evaluate(self, x_t: Tensor, t: Tensor) -> Tensor:
        """What the network returns, (B, outputs, *), in the precision of x_t: mixed precision ends here."""
        output = self.network(x_t, t - 1).to(x_t.dtype)
        if output.shape[1] != self.outputs:
            raise ConfigError(
                f"the network returns {output.shape[1]} channels where {self._asked_by} on examples of {self.channels} "
                f"needs {self.outputs}; let it take its output channels from its second argument",
                key="model.reverse.network",
            )
        return output

    @torch.no_grad()
    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        """As for every model; runs the network on one example."""
        self.check_levels(num_levels)
        if shape[0] != self.channels:
            raise ConfigError(
                f"the data's examples have {shape[0]} channels, the model {self.channels}; "
                f"write model.reverse.channels: {shape[0]}",
                key="model.reverse.channels",
            )
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


def network_error(problem: str, cause: Exception | None = None) -> ConfigError:
    """What is wrong with a network, in one line."""
    reason = f" ({' '.join(str(cause).split())})" if cause and str(cause) else ""
    return ConfigError(
        f"the network {problem}{reason}; write one that is built by (input channels, output channels) and called with "
        "examples and steps, as UNet",
        key="model.reverse.network",
    )
