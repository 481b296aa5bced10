"""What `lightning predict` makes, one kind a file."""

from lit_diffusion.callbacks.predict.conditioned import Denoise, Inpaint
from lit_diffusion.callbacks.predict.guide import ClassFactor, Factor, Guide
from lit_diffusion.callbacks.predict.interpolate import Interpolate
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
    "Prediction",
    "Reconstruct",
    "Samples",
]
