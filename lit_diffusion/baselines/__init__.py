"""The mathematics of the models to which diffusion is compared: torch only, no framework, no files."""

from lit_diffusion.baselines.gan_loss import AdversarialLoss, Hinge, NonSaturating

__all__ = ["AdversarialLoss", "Hinge", "NonSaturating"]
