"""The U-Net of DDPM (Ho et al. 2020, appendix B), option for option as in the released code."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.blocks import Attention, Downsample, ResidualBlock, Upsample
from lit_diffusion.nn.embedding import TimeEmbedding
from lit_diffusion.nn.labels import LabelEmbedding, check_labels, read_labels
from lit_diffusion.nn.layers import ZERO_GAIN, conv, group_norm
from lit_diffusion.nn.shapes import check_pyramid, read_steps
from lit_diffusion.nn.stages import Down, Stage, Up


class UNet(nn.Module):
    """The DDPM U-Net: `network(x, t)` is (B, out_channels, H, W) for x (B, in_channels, H, W) and integer t (B,), or
    with `num_classes` `network(x, t, label)` for labels (B,), see `LabelEmbedding`.

    t holds 0..T-1, as in the release. The defaults are CIFAR10's network: 35,746,307 parameters with 3 channels in and
    out. That of the 256x256 data sets is multipliers (1, 1, 2, 2, 4, 4), attention_levels (4,), dropout 0. A fresh
    network returns nearly zero. The image size is not an option: H and W must be divisible by
    patch_size * 2^(len(multipliers)-1), see `check_image_shape`.

    Args:
        in_channels: Channels of the image; given by the reverse model.
        out_channels: Channels of the prediction; given by the reverse model.
        width: Base number of channels ("ch" in the release), even and divisible by groups.
        multipliers: Level i has width * multipliers[i] channels at resolution H / 2^i.
        num_blocks: Residual blocks per level in the down path; one more in the up path.
        attention_levels: Levels with self-attention after every residual block, both ways. 16x16, where DDPM has it,
            is level 1 of 32x32 images and level 4 of 256x256 images. The middle always has one.
        num_heads: Heads of every attention.
        dropout: Rate of dropout in the residual blocks.
        groups: Groups of every GroupNorm; must divide width.
        head_channels: Channels of every head, where levels have different numbers of heads; null for num_heads.
        patch_size: Fold patches of this many pixels a side into channels: with 2, a 28x28 image is 14x14 with 4 times
            the channels, at a quarter of the cost. 1 folds nothing.
        num_classes: Of the labels, whose embedding, as wide as the time's, is added to it; null for a network without.
        label_dropout: Rate at which training drops labels, for guidance without a classifier; above 0, "no label" has
            an embedding too.
        gradient_checkpointing: Keep only the input of every residual block and its attention for the backward pass,
            which computes the rest again: equal gradients and less memory, for another forward pass.
        scale_shift, symmetric_padding, norm_eps, ends_at_10000, cosines_first, time_scale: What other code bases do
            otherwise, so that their weights fit: see `ResidualBlock`, `Downsample`, GroupNorm, `sinusoidal_embedding`.
            Improved DDPM (Nichol & Dhariwal 2021, code) has true, true, 1e-5, false, true and 1000 / T.

    Raises:
        ConfigError: Options that do not fit together; the message names the option and a remedy.

    >>> import torch
    >>> with torch.device("meta"):  # no memory for weights
    ...     network = UNet(3, 3)
    >>> sum(p.numel() for p in network.parameters())
    35746307
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        num_blocks: int = 2,
        attention_levels: Sequence[int] = (1,),
        num_heads: int = 1,
        dropout: float = 0.1,
        groups: int = 32,
        head_channels: int | None = None,
        scale_shift: bool = False,
        symmetric_padding: bool = False,
        norm_eps: float = 1e-6,
        ends_at_10000: bool = True,
        cosines_first: bool = False,
        time_scale: float = 1.0,
        gradient_checkpointing: bool = False,
        patch_size: int = 1,
        num_classes: int | None = None,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_labels("UNet", num_classes, label_dropout)
        if patch_size < 1:
            raise ConfigError(f"UNet.patch_size: expected 1 or more, got {patch_size}")
        _check_options(width, multipliers, num_blocks, attention_levels, num_heads, dropout, groups, head_channels)
        for name, value in {"norm_eps": norm_eps, "time_scale": time_scale}.items():
            if not 0 < value < math.inf:
                raise ConfigError(f"UNet.{name}: expected a number above 0, got {value}")
        self.in_channels, self.patch_size = in_channels, patch_size
        self.num_classes, self.label_dropout = num_classes, label_dropout
        time_channels = 4 * width

        def stage(in_channels: int, out_channels: int, attention: bool) -> Stage:
            residual = ResidualBlock(
                in_channels, out_channels, time_channels, groups, dropout, scale_shift=scale_shift, norm_eps=norm_eps
            )
            heads = out_channels // head_channels if head_channels else num_heads
            attending = Attention(out_channels, heads, groups, norm_eps) if attention else nn.Identity()
            return Stage(residual, attending, gradient_checkpointing)

        self.time = TimeEmbedding(width, time_channels, ends_at_10000, cosines_first, time_scale)
        if num_classes is not None:
            self.label = LabelEmbedding(num_classes, time_channels, label_dropout > 0)
        self.stem = conv(in_channels * patch_size**2, width, 3, padding=1)
        skips, current, last = [width], width, len(multipliers) - 1
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, multiplier in enumerate(multipliers):
            stages = []
            for _ in range(num_blocks):
                stages.append(stage(current, width * multiplier, level in attention_levels))
                current = width * multiplier
                skips.append(current)
            if level < last:
                skips.append(current)
            self.down.append(Down(stages, Downsample(current, symmetric_padding) if level < last else None))
        self.middle = nn.ModuleList([stage(current, current, True), stage(current, current, False)])
        for level, multiplier in reversed(list(enumerate(multipliers))):
            stages = []
            for _ in range(num_blocks + 1):
                stages.append(stage(current + skips.pop(), width * multiplier, level in attention_levels))
                current = width * multiplier
            self.up.append(Up(stages, Upsample(current) if level > 0 else nn.Identity()))
        self.norm = group_norm(groups, current, norm_eps)
        self.head = conv(current, out_channels * patch_size**2, 3, padding=1, gain=ZERO_GAIN)

    def check_image_shape(self, shape: tuple[int, int, int]) -> None:
        """Raise ConfigError unless the network takes images of `shape` (C, H, W)."""
        check_pyramid("UNet", self.in_channels, len(self.down), shape, "multipliers", self.patch_size)

    def forward(self, x: Tensor, t: Tensor | int, label: Tensor | None = None) -> Tensor:
        embedded = None if self.num_classes is None else self.label(read_labels(self, x, label))
        time = self.time(read_steps(self, x, t), embedded)
        skips = [self.stem(x if self.patch_size == 1 else nn.functional.pixel_unshuffle(x, self.patch_size))]
        for level in self.down:
            skips.extend(level(skips[-1], time))
        h = skips[-1]
        for stage in self.middle:
            h = stage(h, time)
        for level in self.up:
            h = level(h, skips, time)
        h = self.head(nn.functional.silu(self.norm(h)))
        return h if self.patch_size == 1 else nn.functional.pixel_shuffle(h, self.patch_size)


def _check_options(
    width: int,
    multipliers: Sequence[int],
    num_blocks: int,
    attention_levels: Sequence[int],
    num_heads: int,
    dropout: float,
    groups: int,
    head_channels: int | None,
) -> None:
    counts = {"width": width, "num_blocks": num_blocks, "num_heads": num_heads, "groups": groups}
    for name, count in {**counts, "head_channels": 1 if head_channels is None else head_channels}.items():
        if count < 1:
            raise ConfigError(f"UNet.{name}: expected 1 or more, got {count}")
    if head_channels is not None and num_heads != 1:
        raise ConfigError("UNet.head_channels: num_heads also sets the number of heads; set one of the two")
    if not multipliers or min(multipliers) < 1:
        raise ConfigError(
            f"UNet.multipliers: expected one or more numbers >= 1, got {list(multipliers)}; use, say, [1, 2, 2]"
        )
    if width % groups:
        raise ConfigError(
            f"UNet.groups: {groups} groups do not divide width {width}; "
            f"set groups: {math.gcd(width, groups)}, or a width that is a multiple of {groups}"
        )
    if width % 2 or width < 4:
        raise ConfigError(f"UNet.width: expected an even number >= 4, for sines and cosines; got {width}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"UNet.dropout: expected a number in [0, 1), got {dropout}")
    levels = range(len(multipliers))
    for level in attention_levels:
        if level not in levels:
            raise ConfigError(
                f"UNet.attention_levels: expected levels from 0 to {levels[-1]}, got {level}; there are {len(levels)} "
                f"multipliers (level i has resolution H / 2^i: 16x16 is level 1 of 32x32 images)"
            )
    for level in {*attention_levels, levels[-1]}:
        if width * multipliers[level] % (head_channels or 1):
            raise ConfigError(
                f"UNet.head_channels: {head_channels} do not divide the {width * multipliers[level]} channels of "
                f"level {level}; use {math.gcd(width, head_channels or 1)}"
            )
        if width * multipliers[level] % num_heads:
            raise ConfigError(
                f"UNet.num_heads: {num_heads} heads do not divide the {width * multipliers[level]} channels of "
                f"level {level}; use {math.gcd(width, num_heads)}"
            )
