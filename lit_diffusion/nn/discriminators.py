"""Discriminators of GANs: how real an example looks."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.layers import conv, linear
from lit_diffusion.nn.shapes import check_halved, check_points

SLOPE = 0.1  # of the leaky ReLU
GAIN = nn.init.calculate_gain("leaky_relu", SLOPE)


class ConvDiscriminator(nn.Module):
    """`discriminator(x)` is (B,), unbounded and positive for real images, for x (B, *shape)  (Miyato et al. 2018,
    table 3b).

    On each level but the last a 3x3 convolution and a 4x4 one of stride 2; on the last a 3x3 convolution and a dense
    layer to one number; leaky ReLU of slope 0.1. No normalisation of activations: an output is a function of its own
    image.

    Args:
        shape: (C, H, W) of the images; given by the module.
        width: Channels of the first level; each following one has twice as many.
        levels: Number of resolutions, each half of the one before; H and W must be divisible by 2^(levels-1).
        spectral_norm: Divides each layer's weights by their largest singular value.

    Raises:
        ConfigError: An option that is not positive, or a shape that does not fit.
    """

    def __init__(self, shape: Sequence[int], width: int = 64, levels: int = 4, spectral_norm: bool = True) -> None:
        super().__init__()
        check_positive("ConvDiscriminator", width=width, levels=levels)
        channels, *last_size = check_halved("ConvDiscriminator", levels, shape)
        layers: list[nn.Module] = []
        for level in range(levels):
            wide = width * 2**level
            layers += [normalised(conv(channels, wide, 3, padding=1, gain=GAIN), spectral_norm), nn.LeakyReLU(SLOPE)]
            if level < levels - 1:
                down = conv(wide, wide, 4, stride=2, padding=1, gain=GAIN)
                layers += [normalised(down, spectral_norm), nn.LeakyReLU(SLOPE)]
            channels = wide
        dense = normalised(linear(channels * math.prod(last_size), 1), spectral_norm)
        self.layers = nn.Sequential(*layers, nn.Flatten(), dense)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1)


class VectorDiscriminator(nn.Module):
    """`discriminator(x)` is (B,), unbounded and positive for real vectors, for x (B, D): dense layers with leaky ReLU.

    The first reads x, and sin(f x) and cos(f x) of every frequency f, for details that are much finer than the extent
    of the data.

    Args:
        shape: (D,), of the vectors; given by the module.
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        frequencies: In radians per unit of x.
        spectral_norm: Divides each layer's weights by their largest singular value.

    Raises:
        ConfigError: An option that is not positive, or a shape that is not that of vectors.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 128,
        depth: int = 3,
        frequencies: Sequence[float] = (),
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_positive("VectorDiscriminator", width=width, depth=depth)
        self.frequencies = tuple(frequencies)
        sizes = [check_points("VectorDiscriminator", shape) * (1 + 2 * len(self.frequencies)), *[width] * depth]
        layers: list[nn.Module] = []
        for i, o in zip(sizes, sizes[1:]):
            layers += [normalised(linear(i, o, GAIN), spectral_norm), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, normalised(linear(width, 1), spectral_norm))

    def forward(self, x: Tensor) -> Tensor:
        waves = [wave(f * x) for f in self.frequencies for wave in (torch.sin, torch.cos)]
        return self.layers(torch.cat([x, *waves], dim=1)).squeeze(1)


def normalised(layer: nn.Module, spectral: bool) -> nn.Module:
    """The layer, with its weight W as W / sigma(W) if `spectral`  (Miyato et al. 2018, eq. 8).

    sigma is estimated by one step of power iteration at each use in training; the vectors are buffers. Use in
    evaluation changes nothing.
    """
    return parametrizations.spectral_norm(layer) if spectral else layer
