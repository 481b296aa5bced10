"""What `lightning predict` makes, one kind a file."""

from lit_diffusion.callbacks.predict.conditioned import Denoise, Inpaint
from lit_diffusion.callbacks.predict.guide import ClassFactor, Factor, Guide, NoisyFactor
from lit_diffusion.callbacks.predict.interpolate import Interpolate
from lit_diffusion.callbacks.predict.latent_interpolate import LatentInterpolate
from lit_diffusion.callbacks.predict.latent_manifold import LatentManifold
from lit_diffusion.callbacks.predict.latent_reconstruct import LatentReconstruct
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.predict.reconstruct import Reconstruct
from lit_diffusion.callbacks.predict.samples import Samples

__all__ = [
    "ClassFactor",
    "Denoise",
    "Factor",
    "Guide",
    "Inpaint",
    "Interpolate",
    "LatentInterpolate",
    "LatentManifold",
    "LatentReconstruct",
    "NoisyFactor",
    "Prediction",
    "Reconstruct",
    "Samples",
]
