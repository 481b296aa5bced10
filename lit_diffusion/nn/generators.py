"""Generators of GANs: from noise to examples."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.layers import conv, group_norm, linear
from lit_diffusion.nn.shapes import check_halved, check_points


class ConvGenerator(nn.Module):
    """Images in (-1, 1) from noise: `generator(z)` is (B, *shape) for z (B, latent_size)  (Radford et al. 2016).

    As in Miyato et al. 2018, table 3a: a dense layer to the lowest resolution, a 4x4 up-convolution of stride 2 from
    each level to the next, a 3x3 convolution and tanh. Normalised over groups of channels rather than over the batch,
    so that a sample depends on its own noise only.

    Args:
        latent_size: Of the noise; given by the module.
        shape: (C, H, W) of the images; given by the module.
        width: Channels of the last level; each one before has twice as many.
        levels: Number of resolutions, each twice the one before; H and W must be divisible by 2^(levels-1).
        groups: Of the normalisation; must divide width.

    Raises:
        ConfigError: Options that do not fit together, or not the shape.
    """

    def __init__(
        self, latent_size: int, shape: Sequence[int], width: int = 64, levels: int = 4, groups: int = 8
    ) -> None:
        super().__init__()
        check_positive("ConvGenerator", width=width, levels=levels, groups=groups)
        if width % groups:
            raise ConfigError(
                f"ConvGenerator.groups: expected a number that divides width={width}, got {groups}; use "
                f"{math.gcd(width, groups)}"
            )
        channels, height, width_0 = check_halved("ConvGenerator", levels, shape)
        widths = [width * 2**level for level in reversed(range(levels))]
        self.first_shape = (widths[0], height, width_0)
        self.dense = linear(latent_size, math.prod(self.first_shape))
        self.norms = nn.ModuleList(group_norm(groups, c) for c in widths)
        self.up = nn.ModuleList(_doubled(i, o) for i, o in zip(widths, widths[1:]))
        self.last = conv(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.norms[0](self.dense(z).view(-1, *self.first_shape)).relu()
        for up, norm in zip(self.up, self.norms[1:], strict=True):
            h = norm(up(h)).relu()
        return self.last(h).tanh()


class VectorGenerator(nn.Module):
    """Vectors from noise: `generator(z)` is (B, D) for z (B, latent_size). Dense layers with ReLU, and a linear one.

    Args:
        latent_size: Of the noise; given by the module.
        shape: (D,), of the vectors; given by the module.
        width: Units of each hidden layer.
        depth: Number of hidden layers.

    Raises:
        ConfigError: An option that is not positive, or a shape that is not that of vectors.
    """

    def __init__(self, latent_size: int, shape: Sequence[int], width: int = 128, depth: int = 3) -> None:
        super().__init__()
        check_positive("VectorGenerator", width=width, depth=depth)
        dimensions = check_points("VectorGenerator", shape)
        sizes = [latent_size, *[width] * depth]
        hidden = [layer for i, o in zip(sizes, sizes[1:]) for layer in (linear(i, o, math.sqrt(2)), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, linear(width, dimensions))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def _doubled(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """To twice the height and width; each output sees 2x2 pixels."""
    layer = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)  # normalised
    nn.init.normal_(layer.weight, std=1 / math.sqrt(4 * in_channels))
    return layer
