"""LightningModules: what is trained."""

from lit_diffusion.modules.diffusion import DiffusionModule, LinearWarmup

__all__ = ["DiffusionModule", "LinearWarmup"]
