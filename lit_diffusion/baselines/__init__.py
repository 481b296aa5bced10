"""The mathematics of the models to which diffusion is compared: torch only, no framework, no files."""

from lit_diffusion.baselines.collapse import Collapse
from lit_diffusion.baselines.diffusion_chain import DiffusionChain
from lit_diffusion.baselines.gan_loss import AdversarialLoss, Hinge, NonSaturating
from lit_diffusion.baselines.hierarchical_vae import HierarchicalVAE
from lit_diffusion.baselines.importance import importance_weighted_nll
from lit_diffusion.baselines.latent_model import LatentBound, LatentModel
from lit_diffusion.baselines.likelihood import BernoulliLikelihood, GaussianLikelihood, Likelihood, LogisticLikelihood
from lit_diffusion.baselines.vae import VAE

__all__ = [
    "VAE",
    "AdversarialLoss",
    "BernoulliLikelihood",
    "Collapse",
    "DiffusionChain",
    "GaussianLikelihood",
    "HierarchicalVAE",
    "Hinge",
    "LatentBound",
    "LatentModel",
    "Likelihood",
    "LogisticLikelihood",
    "NonSaturating",
    "importance_weighted_nll",
]
