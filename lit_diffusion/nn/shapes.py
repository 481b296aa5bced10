"""Which examples a network takes, said before the first step rather than by a failing layer."""

from lit_diffusion.errors import ConfigError


def check_pyramid(name: str, in_channels: int, levels: int, shape: tuple[int, ...]) -> None:
    """Raise ConfigError unless `shape` is (C, H, W), C is `in_channels`, and H, W can be halved `levels - 1` times."""
    if len(shape) != 3:
        raise ConfigError(f"{name}: expected images (C, H, W), got examples of shape {tuple(shape)}; use VectorMLP")
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


def check_vector(name: str, in_channels: int, shape: tuple[int, ...]) -> None:
    """Raise ConfigError unless `shape` is (D,) and D is `in_channels`."""
    if len(shape) != 1:
        raise ConfigError(f"{name}: expected vectors (D,), got examples of shape {tuple(shape)}; use UNet")
    if shape[0] != in_channels:
        raise ConfigError(
            f"{name}: vectors have {shape[0]} dimensions, but the network was built for {in_channels}; "
            f"give the model {shape[0]} channels."
        )
