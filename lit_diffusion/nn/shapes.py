"""Which images a network takes, said before the first step rather than by a failing convolution."""

from lit_diffusion.errors import ConfigError


def check_pyramid(name: str, in_channels: int, levels: int, shape: tuple[int, int, int]) -> None:
    """Raise ConfigError unless images of `shape` (C, H, W) have `in_channels` and can be halved `levels - 1` times."""
    channels, height, width = shape
    if channels != in_channels:
        raise ConfigError(
            f"{name}: images have {channels} channels, but the network was built for {in_channels}; "
            f"give the model {channels} channels."
        )
    factor = 2 ** (levels - 1)
    if height % factor or width % factor:
        raise ConfigError(
            f"{name}: images of {height}x{width} cannot be halved {levels - 1} times; "
            f"use fewer than {levels} levels, or resize the images to multiples of {factor}."
        )
