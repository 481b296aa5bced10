"""Layers initialised as in the released DDPM code: Xavier-uniform (fan_avg) weights, zero biases."""

from typing import TypeVar

from torch import Tensor, nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

# Gain of the layers that start at nearly zero: the release raises init_scale=0 to a variance scale of 1e-10.
ZERO_GAIN = 1e-5


def conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0, gain: float = 1.0
) -> nn.Conv2d:
    """2-d convolution with bias, zero-padded by `padding` on every side."""
    return _xavier(nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding), gain)


def linear(in_channels: int, out_channels: int, gain: float = 1.0) -> nn.Linear:
    """Affine map of the last dimension."""
    return _xavier(nn.Linear(in_channels, out_channels), gain)


class GroupNorm(nn.GroupNorm):
    """Of x (B, C, *), in float32 or wider, as CUDA's autocast does; bf16 is less exact and, in channels-last, slow."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if input.dtype.itemsize > 2 else input.float())


def group_norm(groups: int, channels: int, eps: float = 1e-6) -> nn.GroupNorm:
    """Group normalisation, by default with the release's eps."""
    return GroupNorm(groups, channels, eps)


def _xavier(layer: Layer, gain: float) -> Layer:
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
