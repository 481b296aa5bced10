"""LightningModules: what is trained."""

from lit_diffusion.modules.diffusion import DiffusionModule, LinearWarmup
from lit_diffusion.modules.generative import GenerativeModule

__all__ = ["DiffusionModule", "GenerativeModule", "LinearWarmup"]
