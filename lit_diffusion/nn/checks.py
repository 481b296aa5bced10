"""Checks of network options, before they fail inside torch."""

from lit_diffusion.errors import ConfigError


def check_positive(network: str, **options: int) -> None:
    """Raise ConfigError, by the name of the option, unless all are 1 or more."""
    for name, value in options.items():
        if value < 1:
            raise ConfigError(f"{network}.{name}: expected 1 or more, got {value}")
