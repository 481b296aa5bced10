"""LightningModules: what is trained."""

from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.modules.gan import GANModule
from lit_diffusion.modules.generative import GenerativeModule
from lit_diffusion.modules.latent_diffusion import LatentDiffusionModule
from lit_diffusion.modules.likelihood_bound import LikelihoodBound
from lit_diffusion.modules.loss_module import LinearWarmup, LossModule
from lit_diffusion.modules.trained_autoencoder import Autoencoder, TrainedAutoencoder
from lit_diffusion.modules.vae_module import HierarchicalVAEModule, VAEModule

__all__ = [
    "Autoencoder",
    "DiffusionModule",
    "GANModule",
    "GenerativeModule",
    "HierarchicalVAEModule",
    "LatentDiffusionModule",
    "LikelihoodBound",
    "LinearWarmup",
    "LossModule",
    "TrainedAutoencoder",
    "VAEModule",
]
