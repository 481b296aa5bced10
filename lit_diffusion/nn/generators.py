"""Generators of GANs: from noise to examples."""

import math

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.layers import conv, group_norm, linear
from lit_diffusion.nn.shapes import check_halved


class ConvGenerator(nn.Module):
    """Images in (-1, 1) from noise: `generator(z)` is (B, *out_shape) for z (B, D)  (Radford et al. 2016).

    As in Miyato et al. 2018, table 3a: a dense layer to the lowest resolution, a 4x4 up-convolution of stride 2 from
    each level to the next, a 3x3 convolution and tanh. Normalised over groups of channels rather than over the batch,
    so that a sample depends on its own noise only.

    Args:
        in_shape: (D,), of the noise; given by the module, like out_shape: (C, H, W) of the images.
        width: Channels of the last level; each one before has twice as many.
        levels: Number of resolutions, each twice the one before; H and W must be divisible by 2^(levels-1).
        groups: Of the normalisation; must divide width.

    Raises:
        ConfigError: Options that do not fit together, or not the shape.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        width: int = 64,
        levels: int = 4,
        groups: int = 8,
    ) -> None:
        super().__init__()
        check_positive("ConvGenerator", width=width, levels=levels, groups=groups)
        if width % groups:
            raise ConfigError(
                f"ConvGenerator.groups: expected a number that divides width={width}, got {groups}; use "
                f"{math.gcd(width, groups)}"
            )
        channels, *first_size = check_halved("ConvGenerator", levels, out_shape)
        widths = [width * 2**level for level in reversed(range(levels))]
        self.first_shape = (widths[0], *first_size)
        self.dense = linear(math.prod(in_shape), math.prod(self.first_shape))
        self.norms = nn.ModuleList(group_norm(groups, c) for c in widths)
        self.up = nn.ModuleList(_doubled(i, o) for i, o in zip(widths, widths[1:]))
        self.last = conv(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.norms[0](self.dense(z.flatten(1)).view(-1, *self.first_shape)).relu()
        for up, norm in zip(self.up, self.norms[1:], strict=True):
            h = norm(up(h)).relu()
        return self.last(h).tanh()


def _doubled(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """To twice the height and width; each output sees 2x2 pixels."""
    layer = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)  # normalised
    nn.init.normal_(layer.weight, std=1 / math.sqrt(4 * in_channels))
    return layer
