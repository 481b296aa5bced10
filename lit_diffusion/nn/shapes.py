"""Which examples and steps a network takes, said in words rather than by a failing layer."""

import math
from typing import Any

import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError

NETWORK, CHANNELS = "model.reverse.network", "model.reverse.channels"


def check_pyramid(
    name: str, in_channels: int, levels: int, shape: tuple[int, ...], option: str, patch_size: int = 1
) -> None:
    """Raise ConfigError unless `shape` is (C, H, W), C is `in_channels`, and H, W are whole numbers of patches that
    can be halved `levels - 1` times.

    option: the name of the network's argument that sets the number of levels.
    """
    if len(shape) != 3:
        raise ConfigError(
            f"expected images (C, H, W) for {name}, got examples of shape {tuple(shape)}; use VectorMLP", NETWORK
        )
    channels, height, width = shape
    if channels != in_channels:
        raise ConfigError(
            f"expected images of {in_channels} channels, for which {name} was built, got {channels}; give the model "
            f"{channels} channels",
            CHANNELS,
        )
    if height % patch_size or width % patch_size:
        raise ConfigError(
            f"expected a number that divides the size of the images, {height}x{width}, got {patch_size}; use "
            f"{math.gcd(height, width, patch_size)}",
            f"{NETWORK}.patch_size",
        )
    factor, fitting = patch_size * 2 ** (levels - 1), 1
    while height % (patch_size * 2**fitting) == 0 and width % (patch_size * 2**fitting) == 0:
        fitting += 1
    if fitting < levels:
        folded = f" in patches of {patch_size}x{patch_size}" if patch_size > 1 else ""
        raise ConfigError(
            f"expected sizes that can be halved {levels - 1} times, as {levels} levels of {name} need, got "
            f"{height}x{width}{folded}; use {fitting} level{'s' * (fitting > 1)}, or images of multiples of {factor} "
            "pixels",
            f"{NETWORK}.{option}",
        )


def check_halved(name: str, levels: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of the last of `levels` levels, each of half the size of the one before, for images of `shape`.

    Raises ConfigError for examples that are not images, and for sizes that cannot be halved so often.
    """
    if len(shape) != 3:
        raise ConfigError(f"{name}: expected images (C, H, W), got examples of shape {shape}; use DenseNetwork")
    channels, height, width = shape
    fitting = min(n & -n for n in (height, width)).bit_length()  # 1 more than how often 2 divides both
    if fitting < levels:
        raise ConfigError(
            f"{name}.levels: expected {fitting} at most, since images of {height}x{width} can be halved "
            f"{fitting - 1} times, got {levels}"
        )
    return channels, height >> (levels - 1), width >> (levels - 1)


def check_vector(name: str, in_channels: int, shape: tuple[int, ...]) -> None:
    """Raise ConfigError unless `shape` is (D,) and D is `in_channels`."""
    if len(shape) != 1:
        raise ConfigError(f"expected vectors (D,) for {name}, got examples of shape {tuple(shape)}; use UNet", NETWORK)
    if shape[0] != in_channels:
        raise ConfigError(
            f"expected vectors of {in_channels} dimensions, for which {name} was built, got {shape[0]}; give the model "
            f"{shape[0]} channels",
            CHANNELS,
        )


def read_steps(network: Any, x: Tensor, t: Tensor | int) -> Tensor:
    """The indices t of a call of `network` as integers (B,), for one index for all examples or one for each.

    Raises ConfigError for examples x (B, *) that the network does not take, and for another number of indices.
    """
    network.check_image_shape(tuple(x.shape[1:]))
    t = torch.as_tensor(t, device=x.device)
    if t.ndim == 0:
        return t.expand(len(x))
    if t.shape != (len(x),):
        raise ConfigError(f"expected one index t, or one for each of {len(x)} examples, got shape {tuple(t.shape)}")
    return t
