"""The commands `lightning` and `lit-diffusion`."""

from lit_diffusion.cli.entry import main

__all__ = ["main"]
