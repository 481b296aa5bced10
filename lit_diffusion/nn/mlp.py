"""Dense networks for vectors: that of the 2015 heartbeat, and one with t among its inputs."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.embedding import sinusoidal_embedding
from lit_diffusion.nn.labels import check_labels, one_hot, read_labels
from lit_diffusion.nn.layers import linear
from lit_diffusion.nn.readout import Readout, SharedReadout
from lit_diffusion.nn.shapes import check_vector, read_steps

# Each with the gain of the weights before it: a sigmoid's slope is 1/4 at most, and signals would die in three layers.
ACTIVATIONS = {"sigmoid": (nn.Sigmoid, 4.0), "tanh": (nn.Tanh, 1.0), "silu": (nn.SiLU, 1.0)}


class VectorMLP(nn.Module):
    """Dense layers and a readout: `network(x, t)` is (B, out_channels) for x (B, in_channels) and integer t (B,), or
    with `num_classes` `network(x, t, label)` for labels (B,).

    The layers read x, sin(f x) and cos(f x) of every frequency f, the class, and the sinusoidal embedding of t. By
    default only the embedding depends on t. In the heartbeat's network of Sohl-Dickstein et al. 2015 only the readout
    does: width 50, depth 3, activation sigmoid, time_width 0, readout StepReadout. A fresh network returns zero.

    Args:
        in_channels: Dimensions of the vector; given by the reverse model.
        out_channels: Dimensions of the prediction; given by the reverse model.
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        activation: After each hidden layer.
        time_width: Size of the embedding of t, even and at least 4; 0 leaves it out.
        frequencies: In radians per unit of x, for details of the density that are much finer than its extent.
        num_classes: Of the labels; null for a network without.
        label_dropout: Rate at which training drops labels, for guidance without a classifier.
        readout: Built with (width, out_channels): SharedReadout, StepReadout or BumpReadout.

    Raises:
        ConfigError: Options that do not fit together; the message names the option and what to write.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 128,
        depth: int = 3,
        activation: Literal["sigmoid", "tanh", "silu"] = "silu",
        time_width: int = 32,
        frequencies: Sequence[float] = (),
        readout: Callable[[int, int], Readout] = SharedReadout,
        num_classes: int | None = None,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_labels("VectorMLP", num_classes, label_dropout)
        check_positive("VectorMLP", width=width, depth=depth)
        if activation not in ACTIVATIONS:
            raise ConfigError(f"VectorMLP.activation: expected one of {', '.join(ACTIVATIONS)}; got {activation}")
        if time_width != 0 and (time_width % 2 or time_width < 4):
            raise ConfigError(f"VectorMLP.time_width: expected 0 or an even number >= 4, got {time_width}")
        self.in_channels = in_channels
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.time_width = time_width
        self.frequencies = tuple(frequencies)
        self.readout = readout(width, out_channels)
        if self.readout.num_steps is not None:
            self.num_steps = self.readout.num_steps
        elif time_width == 0:
            raise ConfigError(
                "VectorMLP.time_width: with 0 and SharedReadout nothing depends on t; use 32, or a StepReadout"
            )
        inputs = in_channels * (1 + 2 * len(self.frequencies)) + time_width + (num_classes or 0)
        sizes = [inputs, *[width] * depth]
        function, gain = ACTIVATIONS[activation]
        layers = [(linear(i, o, gain), function()) for i, o in zip(sizes, sizes[1:])]
        self.layers = nn.Sequential(*[module for layer in layers for module in layer])

    def check_image_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ConfigError unless the network takes vectors of `shape` (D,)."""
        check_vector("VectorMLP", self.in_channels, shape)

    def forward(self, x: Tensor, t: Tensor | int, label: Tensor | None = None) -> Tensor:
        t = read_steps(self, x, t)
        features = [x, *[wave(f * x) for f in self.frequencies for wave in (torch.sin, torch.cos)]]
        if self.time_width:
            features.append(sinusoidal_embedding(t, self.time_width).to(x.dtype))
        if self.num_classes is not None:
            features.append(one_hot(read_labels(self, x, label), self.num_classes).to(x.dtype))
        return self.readout(self.layers(torch.cat(features, dim=1)), t)
