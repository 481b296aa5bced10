"""Dense networks between any two shapes, for points and for latents."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.layers import linear


class DenseNetwork(nn.Module):
    """Affine layers with swish between them: (B, *in_shape) to (B, *out_shape); shapes are flattened.

    Args:
        in_shape: Of an example of the input; given by the model, like out_shape.
        width: Units of each hidden layer.
        depth: Number of hidden layers; 0 is an affine map.
        frequencies: The layers read sin(f x) and cos(f x) of every frequency f next to x, in radians per unit of x.

    Raises:
        ConfigError: An option that is not positive.

    >>> DenseNetwork((2,), (1, 4, 4), depth=0)(torch.zeros(5, 2)).shape
    torch.Size([5, 1, 4, 4])
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        width: int = 128,
        depth: int = 2,
        frequencies: Sequence[float] = (),
    ) -> None:
        super().__init__()
        check_positive("DenseNetwork", width=width)
        if depth < 0:
            raise ConfigError(f"DenseNetwork.depth: expected 0 or more, got {depth}; use 2")
        self.out_shape, self.frequencies = tuple(out_shape), tuple(frequencies)
        sizes = [math.prod(in_shape) * (1 + 2 * len(self.frequencies)), *[width] * depth]
        hidden = [layer for i, o in zip(sizes, sizes[1:]) for layer in (linear(i, o), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, linear(sizes[-1], math.prod(out_shape)))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        waves = [wave(f * x) for f in self.frequencies for wave in (torch.sin, torch.cos)]
        h: Tensor = self.layers(torch.cat([x, *waves], dim=1))
        return h.unflatten(1, self.out_shape)
