"""Scores of generated images: FID, IS, KID, precision and recall from one pass over the images."""

from lit_diffusion.metrics.digits_features import DigitsFeatures
from lit_diffusion.metrics.features import FeatureExtractor, FileFeatures
from lit_diffusion.metrics.fidelity import Fidelity, Statistics, compare
from lit_diffusion.metrics.inception import InceptionFeatures
from lit_diffusion.metrics.protocol import DDPMRelease, Protocol, TorchFidelity
from lit_diffusion.metrics.score import Score

__all__ = [
    "DDPMRelease",
    "DigitsFeatures",
    "FeatureExtractor",
    "Fidelity",
    "FileFeatures",
    "InceptionFeatures",
    "Protocol",
    "Score",
    "Statistics",
    "TorchFidelity",
    "compare",
]
