"""Scores of generated images: FID, IS, KID, precision and recall from one pass over the images."""

from lit_diffusion.metrics.digits_features import DigitsFeatures
from lit_diffusion.metrics.features import FeatureExtractor, FileFeatures
from lit_diffusion.metrics.fidelity import Fidelity, Statistics, compare
from lit_diffusion.metrics.inception import InceptionFeatures
from lit_diffusion.metrics.mnist_features import FashionMNISTFeatures, MNISTFeatures
from lit_diffusion.metrics.protocol import DDPMRelease, Protocol, TorchFidelity
from lit_diffusion.metrics.score import Score
from lit_diffusion.metrics.shipped_classifier import ShippedClassifier

__all__ = [
    "DDPMRelease",
    "DigitsFeatures",
    "FashionMNISTFeatures",
    "FeatureExtractor",
    "Fidelity",
    "FileFeatures",
    "InceptionFeatures",
    "MNISTFeatures",
    "Protocol",
    "Score",
    "ShippedClassifier",
    "Statistics",
    "TorchFidelity",
    "compare",
]
