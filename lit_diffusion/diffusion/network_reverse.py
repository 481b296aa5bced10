"""Reverse models that hold their network, and are given labels."""

import copy
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.process import Process
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.errors import ConfigError

NO_LABEL = -1  # as networks take it


class NetworkReverse(ReverseModel):
    """A reverse model that holds its network.

    network: called once with (input channels, output channels); returns a module that is called with x_t (B, C, *) and
        the index t - 1 (B,).
    channels: C of the examples: channels of images, or the length of vectors. outputs: output channels that `asked_by`
        needs.

    A network with `num_classes` is called with labels (B,) too, -1 for none; see `given` and `evaluate`.

    Raises ConfigError if the network cannot be built, or is built for another T.
    """

    label: Tensor | None = None
    guidance_scale = 0.0

    def __init__(
        self, process: Process, network: Callable[[int, int], nn.Module], channels: int, outputs: int, asked_by: object
    ):
        super().__init__(process)
        self.channels, self.outputs, self._asked_by = channels, outputs, type(asked_by).__name__
        try:
            self.network = network(channels, outputs)
        except ConfigError:
            raise  # the network's message is better than ours
        except (TypeError, ValueError) as error:
            raise network_error(f"cannot be built for {channels} input and {outputs} output channels", error) from error
        built_for = getattr(self.network, "num_steps", self.num_steps)
        if built_for != self.num_steps:
            raise ConfigError(
                f"expected a network for the schedule's {self.num_steps} steps, got readouts for {built_for}; set "
                "both num_steps to the same number",
                key="model.reverse.network",
            )

    @abstractmethod
    def check_levels(self, num_levels: int | None) -> None:
        """Raises ConfigError unless the model is for data with `num_levels` levels, None for real values."""

    @property
    def num_classes(self) -> int | None:
        return getattr(self.network, "num_classes", None)

    @property
    def knows_no_label(self) -> bool:
        return self.num_classes is not None and getattr(self.network, "label_dropout", 0) > 0

    def given(self, label: Tensor | None) -> "NetworkReverse":
        if self.num_classes is None:
            return self
        view = copy.copy(self)  # shares the network
        view.label = label
        return view

    def select(self, rows: Tensor) -> ReverseModel:
        return self if self.label is None else self.given(self.label[rows])

    def guided(self, scale: float) -> ReverseModel:
        if self.num_classes is None or not scale:
            return super().guided(scale)
        if scale < -1:
            raise ConfigError(f"guidance_scale: expected -1 (the model without labels) or more, got {scale:g}")
        if not self.knows_no_label:
            raise ConfigError(
                f"guidance_scale: expected 0 for a model trained without label_dropout, got {scale:g}; or train one "
                "with model.reverse.network.label_dropout: 0.1"
            )
        view = copy.copy(self)
        view.guidance_scale = scale
        return view

    def evaluate(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The network's output, (B, outputs, *), in the precision of x_t: mixed precision ends here.

        Of a model given labels c with a guidance scale w it is (1 + w) f(x_t, t, c) - w f(x_t, t, no label), both in
        one batch  (Ho & Salimans 2022, eq. 6). For eps, x_0, velocity and mu~ alike, since each is an affine function
        of any other at a given x_t. A learned variance is that given the labels.
        """
        output: Tensor
        if not self.guidance_scale:
            given = () if self.num_classes is None else (self.label,)
            output = self.network(x_t, t - 1, *given).to(x_t.dtype)
        else:
            label = torch.full_like(t, NO_LABEL) if self.label is None else self.label
            labels = torch.cat([label, torch.full_like(label, NO_LABEL)])
            both = self.network(torch.cat([x_t, x_t]), torch.cat([t, t]) - 1, labels)
            output, without = both.to(x_t.dtype).chunk(2)
            mean = output[:, : self.channels]
            mean = mean + self.guidance_scale * (mean - without[:, : self.channels])
            output = torch.cat([mean, output[:, self.channels :]], dim=1)
        if output.shape[1] != self.outputs:
            raise ConfigError(
                f"expected {self.outputs} output channels, which {self._asked_by} needs for examples of "
                f"{self.channels}, got {output.shape[1]}; take the number from the network's second argument",
                key="model.reverse.network",
            )
        return output

    @torch.no_grad()
    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        """As in the base class; evaluates the network for one example."""
        self.check_levels(num_levels)
        if shape[0] != self.channels:
            raise ConfigError(
                f"expected the data's {shape[0]} channels, got {self.channels}; set model.reverse.channels: {shape[0]}",
                key="model.reverse.channels",
            )
        check_image_shape: Callable[[tuple[int, ...]], None] | None = getattr(self.network, "check_image_shape", None)
        if check_image_shape is not None:
            check_image_shape(shape)
        training = self.training
        try:
            t = torch.ones(1, dtype=torch.long, device=self.device)
            one = self.eval().given(t - 1)  # of the first class, if there are labels
            output = one.predict(torch.zeros(1, *shape, device=self.device), t).output
        except (RuntimeError, TypeError, StopIteration) as error:
            raise network_error(f"cannot be called with examples of shape {shape} and steps", error) from error
        finally:
            self.train(training)
        if output.shape[1:] != shape:
            raise network_error(f"returns shape {tuple(output.shape[1:])} for examples of shape {shape}")


def network_error(problem: str, cause: Exception | None = None) -> ConfigError:
    """A network's problem as one line."""
    reason = f" ({' '.join(str(cause).split())})" if cause and str(cause) else ""
    return ConfigError(
        f"the network {problem}{reason}; use a class such as UNet, which is built from (input channels, output "
        "channels) and called with examples and steps",
        key="model.reverse.network",
    )
