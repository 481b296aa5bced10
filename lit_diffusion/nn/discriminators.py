"""Discriminators of GANs: how real an example looks."""

import math

from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.layers import conv, linear
from lit_diffusion.nn.shapes import check_halved

SLOPE = 0.1  # of the leaky ReLU
GAIN = nn.init.calculate_gain("leaky_relu", SLOPE)


class ConvDiscriminator(nn.Module):
    """`discriminator(x)` is (B, D) without bounds for images x (B, *in_shape)  (Miyato et al. 2018, table 3b).

    On each level but the last a 3x3 convolution and a 4x4 one of stride 2; on the last a 3x3 convolution and a dense
    layer; leaky ReLU of slope 0.1. No normalisation of activations: an output is a function of its own
    image.

    Args:
        in_shape: (C, H, W) of the images; given by the module, like out_shape: (D,), of the outputs.
        width: Channels of the first level; each following one has twice as many.
        levels: Number of resolutions, each half of the one before; H and W must be divisible by 2^(levels-1).
        spectral_norm: Divides each layer's weights by their largest singular value.

    Raises:
        ConfigError: An option that is not positive, or a shape that does not fit.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        width: int = 64,
        levels: int = 4,
        spectral_norm: bool = True,
    ) -> None:
        super().__init__()
        check_positive("ConvDiscriminator", width=width, levels=levels)
        channels, *last_size = check_halved("ConvDiscriminator", levels, in_shape)
        layers: list[nn.Module] = []
        for level in range(levels):
            wide = width * 2**level
            layers += [normalised(conv(channels, wide, 3, padding=1, gain=GAIN), spectral_norm), nn.LeakyReLU(SLOPE)]
            if level < levels - 1:
                down = conv(wide, wide, 4, stride=2, padding=1, gain=GAIN)
                layers += [normalised(down, spectral_norm), nn.LeakyReLU(SLOPE)]
            channels = wide
        dense = normalised(linear(channels * math.prod(last_size), math.prod(out_shape)), spectral_norm)
        self.layers = nn.Sequential(*layers, nn.Flatten(), dense)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def normalised(layer: nn.Module, spectral: bool) -> nn.Module:
    """The layer, with its weight W as W / sigma(W) if `spectral`  (Miyato et al. 2018, eq. 8).

    sigma is estimated by one step of power iteration at each use in training; the vectors are buffers. Use in
    evaluation changes nothing.
    """
    return parametrizations.spectral_norm(layer) if spectral else layer
