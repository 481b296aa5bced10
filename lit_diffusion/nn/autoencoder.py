"""Convolutional networks from images to latents and back, built from the shapes of both."""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.blocks import Downsample, Upsample
from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.layers import ZERO_GAIN, conv, group_norm, linear


class PlainBlock(nn.Module):
    """x + conv(swish(norm(conv(swish(norm(x)))))), with a 1x1 shortcut where channels change: DDPM's without time."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(groups, in_channels)
        self.conv1 = conv(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(groups, out_channels)
        self.conv2 = conv(out_channels, out_channels, 3, padding=1, gain=ZERO_GAIN)
        self.shortcut = nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.shortcut(x) + h


class ConvEncoder(nn.Module):
    """Images (B, *in_shape) to latents (B, *out_shape), a vector or an image of the last level's size.

    Args:
        in_shape: (C, H, W); given by the model, like out_shape: (D,) or (C', H', W').
        width: Base number of channels, a multiple of groups.
        multipliers: Level i has width * multipliers[i] channels at resolution H / 2^i.
        num_blocks: Residual blocks per level.
        groups: Groups of every GroupNorm.

    Raises:
        ConfigError: Sizes or options that do not fit together; the message names the option and a remedy.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        width: int = 32,
        multipliers: Sequence[int] = (1, 2),
        num_blocks: int = 1,
        groups: int = 8,
    ) -> None:
        super().__init__()
        last = last_level("ConvEncoder", in_shape, out_shape, width, multipliers, num_blocks, groups)
        layers: list[nn.Module] = [conv(in_shape[0], width * multipliers[0], 3, padding=1)]
        current = width * multipliers[0]
        for level, multiplier in enumerate(multipliers):
            if level > 0:
                layers.append(Downsample(current))
            for _ in range(num_blocks):
                layers.append(PlainBlock(current, width * multiplier, groups))
                current = width * multiplier
        layers += [group_norm(groups, current), nn.SiLU()]
        if len(out_shape) == 1:
            layers += [nn.Flatten(), linear(math.prod(last), out_shape[0])]
        else:
            layers.append(conv(current, out_shape[0], 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.layers(x)
        return h


class ConvDecoder(nn.Module):
    """Latents (B, *in_shape), a vector or an image of the last level's size, to images (B, *out_shape).

    Args:
        in_shape: (D,) or (C', H', W'); given by the model, like out_shape: (C, H, W).
        width, multipliers, num_blocks, groups: As of `ConvEncoder`, whose levels it goes through backwards.

    Raises:
        ConfigError: Sizes or options that do not fit together; the message names the option and a remedy.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        width: int = 32,
        multipliers: Sequence[int] = (1, 2),
        num_blocks: int = 1,
        groups: int = 8,
    ) -> None:
        super().__init__()
        last = last_level("ConvDecoder", out_shape, in_shape, width, multipliers, num_blocks, groups)
        current = last[0]
        layers: list[nn.Module] = (
            [linear(in_shape[0], math.prod(last)), nn.Unflatten(1, last)]
            if len(in_shape) == 1
            else [conv(in_shape[0], current, 3, padding=1)]
        )
        for level, multiplier in reversed([*enumerate(multipliers)]):
            for _ in range(num_blocks):
                layers.append(PlainBlock(current, width * multiplier, groups))
                current = width * multiplier
            if level > 0:
                layers.append(Upsample(current))
        layers += [group_norm(groups, current), nn.SiLU(), conv(current, out_shape[0], 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        h: Tensor = self.layers(z)
        return h


def last_level(
    name: str,
    image: tuple[int, ...],
    latent: tuple[int, ...],
    width: int,
    multipliers: Sequence[int],
    num_blocks: int,
    groups: int,
) -> tuple[int, int, int]:
    """The shape (C, H, W) of the last level's features. Raises ConfigError for shapes or options that do not fit."""
    check_positive(name, width=width, num_blocks=num_blocks, groups=groups)
    if not multipliers or min(multipliers) < 1:
        raise ConfigError(f"{name}.multipliers: expected one or more numbers >= 1, got {list(multipliers)}; use [1, 2]")
    if width % groups:
        fitting = math.gcd(width, groups)
        raise ConfigError(f"{name}.groups: expected a number that divides width {width}, got {groups}; use {fitting}")
    if len(image) != 3:
        raise ConfigError(f"expected images (C, H, W) for {name}, got shape {list(image)}; use DenseNetwork")
    factor = 2 ** (len(multipliers) - 1)
    height, width_of = image[1:]
    if height % factor or width_of % factor:
        raise ConfigError(
            f"{name}.multipliers: expected as many levels as the size {height}x{width_of} can be halved, and one, got "
            f"{len(multipliers)}; use {(math.gcd(height, width_of, factor)).bit_length()} or fewer"
        )
    last = (width * multipliers[-1], height // factor, width_of // factor)
    if len(latent) not in (1, 3) or len(latent) == 3 and latent[1:] != last[1:]:
        raise ConfigError(
            f"expected latents that are a vector, or {last[1]}x{last[2]} images, the size of the last of {name}'s "
            f"{len(multipliers)} levels, got shape {list(latent)}; set its shape to [C, {last[1]}, {last[2]}], or "
            "change multipliers"
        )
    return last
