"""Images and toy data: one LightningDataModule per data set, float batches, reproducible to the example."""

from lit_diffusion.data.binarized_digits import BinarizedDigits
from lit_diffusion.data.binary_sequences import BinarySequences
from lit_diffusion.data.dead_leaves import DeadLeaves
from lit_diffusion.data.digits import Digits
from lit_diffusion.data.heartbeat import Heartbeat
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.image_folder import ImageClassFolder, ImageFolder
from lit_diffusion.data.image_formats import (
    ImageArray,
    ImageArrow,
    ImageHub,
    ImageLMDB,
    ImageParquet,
    ImageWebDataset,
    ImageZip,
)
from lit_diffusion.data.mnist_files import MNISTFiles
from lit_diffusion.data.mnist_sets import MNIST, FashionMNIST
from lit_diffusion.data.single_dot import SingleDot
from lit_diffusion.data.swiss_roll import SwissRoll
from lit_diffusion.data.texture import Texture
from lit_diffusion.data.torchvision_sets import CIFAR10
from lit_diffusion.data.vectors import Vectors

__all__ = [
    "CIFAR10",
    "MNIST",
    "BinarizedDigits",
    "BinarySequences",
    "DeadLeaves",
    "Digits",
    "FashionMNIST",
    "Heartbeat",
    "ImageArray",
    "ImageArrow",
    "ImageClassFolder",
    "ImageData",
    "ImageFolder",
    "ImageHub",
    "ImageLMDB",
    "ImageParquet",
    "ImageWebDataset",
    "ImageZip",
    "MNISTFiles",
    "SingleDot",
    "SwissRoll",
    "Texture",
    "Vectors",
]
