"""What the tests of scores are made of: images that know their numbers, real pictures, and weights for Inception."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from lit_diffusion.data.image_set import ImageSet
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.metrics import FeatureExtractor, Fidelity
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.pixels import to_float
from tests.conftest import once

SHAPE = (1, 1, 2)  # of an image that carries its number, in base 256
SCORES = {"fid", "inception_score", "kid", "precision", "recall"}


class Table(FeatureExtractor):
    """Gives image number i row i of its features and logits."""

    name, resize, batch_size = "table", "none", 7

    def __init__(self, features: Tensor, logits: Tensor | None = None):
        super().__init__()
        self.features = features.float()
        self.logits = torch.zeros(len(features), 2) if logits is None else logits.float()
        self.forward_passes = 0

    def read(self) -> str:
        return sha256_of(self.features.numpy().tobytes() + self.logits.numpy().tobytes())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.forward_passes += 1
        high, low = pixels[:, 0, 0].round().long().unbind(1)
        return self.features[256 * high + low], self.logits[256 * high + low]


def levels(numbers: Tensor) -> Tensor:
    """Images (B, 1, 1, 2) uint8 that carry these numbers."""
    return torch.stack([numbers // 256, numbers % 256], 1).to(torch.uint8)[:, None, None]


def numbered(count: int, name: str = "numbers") -> ImageSet:
    """The images 0..count-1."""
    return ImageSet(name, MemoryStore(levels(torch.arange(count))), SHAPE)


def fill(metric: Fidelity, numbers: Tensor, sizes: list[int]) -> Fidelity:
    """The metric after updates with the images of these numbers, in batches of these sizes."""
    for part in numbers.split(sizes):
        metric.update(to_float(levels(part), 256), part)
    return metric


def normal(count: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def write_pictures(folder: Path, count: int, side: int, noise: float, seed: int) -> Path:
    """PNG files: random squares of two photographs, with noise of that standard deviation in levels of 255."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    for i in range(count):
        whole = photographs[i % 2]
        top, left = (random.integers(0, whole.shape[axis] - side) for axis in (0, 1))
        square = whole[top : top + side, left : left + side] + noise * random.standard_normal((side, side, 3))
        Image.fromarray(square.round().clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")
    return folder


class Untrained(FeatureExtractorInceptionV3):
    """torch-fidelity's Inception without weights."""

    def load_state_dict(self, state_dict):
        """Takes none."""


def write_inception(folder: Path) -> Path:
    """A file of random weights in torch-fidelity's format, of sizes with which features do not vanish."""
    path = folder / "inception.pth"
    torch.save({}, path)
    network = Untrained("untrained", ["2048"], feature_extractor_weights_path=path)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.8, 1.2, generator=generator)
            module.bias.uniform_(-0.1, 0.1, generator=generator)
    network.fc.weight.normal_(0, 1.0, generator=generator)
    torch.save(network.state_dict(), path)
    return path


def inception_file(factory: pytest.TempPathFactory) -> Path:
    """The same, made once for all tests."""
    return once(factory, "inception", write_inception) / "inception.pth"
