"""Images: one LightningDataModule a data set, float batches in [-1, 1], reproducible to the image."""

from lit_diffusion.data.base import ImageData
from lit_diffusion.data.digits import Digits
from lit_diffusion.data.folder import ImageFolder
from lit_diffusion.data.torchvision_sets import CIFAR10, MNIST, FashionMNIST

__all__ = ["CIFAR10", "MNIST", "Digits", "FashionMNIST", "ImageData", "ImageFolder"]
