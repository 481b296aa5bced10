"""LightningModules: what is trained."""

from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.modules.generative import GenerativeModule
from lit_diffusion.modules.likelihood_bound import LikelihoodBound
from lit_diffusion.modules.loss_module import LinearWarmup, LossModule

__all__ = ["DiffusionModule", "GenerativeModule", "LikelihoodBound", "LinearWarmup", "LossModule"]
