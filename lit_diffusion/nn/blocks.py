"""The parts of the DDPM U-Net (Ho et al. 2020, appendix B, and the released code)."""

from torch import Tensor, nn
from torch.nn import functional as F

from lit_diffusion.nn.layers import ZERO_GAIN, conv, group_norm, linear


class ResidualBlock(nn.Module):
    """x + conv(dropout(swish(norm(conv(swish(norm(x))) + dense(time))))), with a 1x1 shortcut where channels change.

    x: (B, in_channels, H, W); time: (B, time_channels), already through its swish; returns (B, out_channels, H, W).
    With scale_shift the time is not added before the second norm but scales and shifts what comes out of it: h becomes
    norm(h) (1 + scale) + shift (Nichol & Dhariwal 2021, appendix A).
    The second convolution starts at nearly zero, so a fresh block is its shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        time_channels: int,
        groups: int,
        dropout: float,
        scale_shift: bool = False,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.norm1 = group_norm(groups, in_channels, norm_eps)
        self.conv1 = conv(in_channels, out_channels, 3, padding=1)
        self.time = linear(time_channels, 2 * out_channels if scale_shift else out_channels)
        self.norm2 = group_norm(groups, out_channels, norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv(out_channels, out_channels, 3, padding=1, gain=ZERO_GAIN)
        self.shortcut = nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        time = self.time(time)[:, :, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + time)
        h = self.conv2(self.dropout(F.silu(h)))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """x + out(softmax(q k^T / sqrt(C / heads)) v) over all pixels, with q, k, v from the normalised x.

    x: (B, C, H, W); returns the same shape. The release's 1x1 convolutions are linear maps of each pixel's channels
    and are written so: pixels become rows once, and every attention kernel of PyTorch takes the result without a copy.
    The output map starts at nearly zero, so a fresh block is the identity.
    """

    def __init__(self, channels: int, num_heads: int, groups: int, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = group_norm(groups, channels, norm_eps)
        self.query = linear(channels, channels)
        self.key = linear(channels, channels)
        self.value = linear(channels, channels)
        self.out = linear(channels, channels, gain=ZERO_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).transpose(1, 2).contiguous()  # (B, HW, C)
        h = F.scaled_dot_product_attention(
            self._heads(self.query(pixels)), self._heads(self.key(pixels)), self._heads(self.value(pixels))
        )
        h = self.out(h.transpose(1, 2).flatten(2))  # (B, HW, C)
        return x + h.transpose(1, 2).unflatten(2, x.shape[2:])

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, HW, C / heads)


class Downsample(nn.Module):
    """Halves height and width (both even): 3x3 convolution of stride 2, padded by one at the right and the bottom.

    That is TensorFlow's "same" padding of even sizes, on which the released weights were trained. `symmetric`: padded
    by one on all sides, of which the last row and column see nothing, as is usual in PyTorch.
    """

    def __init__(self, channels: int, symmetric: bool = False) -> None:
        super().__init__()
        self.padding = (1, 0, 1, 0) if symmetric else (0, 1, 0, 1)
        self.conv = conv(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.padding))


class Upsample(nn.Module):
    """Doubles height and width: every pixel becomes a 2x2 square, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
