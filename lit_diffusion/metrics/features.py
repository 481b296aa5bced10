"""Feature extractors: from images to what FID, KID, precision and recall (features) and IS (logits) are made of."""

import hashlib
import warnings
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError, first_words


class FeatureExtractor(nn.Module, ABC):
    """Maps pixels (B, C, H, W), floats in [0, 255], to features (B, D) and logits (B, K), both float32.

    Weights are read by `load`, not at construction: a run that scores nothing needs none. name: what scores are
    labelled with. resize: the rule by which images come to the network's size. batch_size: images in a forward pass.
    """

    name: str
    resize: str
    batch_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = ""

    def load(self) -> None:
        """Reads the weights, once. Raises ConfigError that names the file and its hash where that fails."""
        if not self.sha256:
            with torch.random.fork_rng(devices=[]):  # networks that are built draw their first weights
                self.sha256 = self.read()
            self.requires_grad_(False)

    @abstractmethod
    def read(self) -> str:
        """Builds the network from its file, in evaluation mode, and returns the file's SHA-256."""

    @property
    def key(self) -> str:
        """Identifies what features depend on: two extractors of one key give the same."""
        return f"{self.name} {self.sha256}"

    def check(self, image_shape: tuple[int, ...]) -> str | None:
        """Raises ConfigError for images (C, H, W) that cannot be taken; returns what a user should know, or None."""
        return None

    def describe(self) -> dict[str, str]:
        """What of this stands beside every score."""
        return {"features": self.name, "features_sha256": self.sha256, "resize": self.resize}


class FileFeatures(FeatureExtractor):
    """Features of one's own: a torch.export archive (.pt2) or a TorchScript module (.pt).

    It is called with images (B, C, H, W) uint8, for any B, and returns features (B, D), or features and logits (B, K);
    without logits the features take their place in IS. Programs are code: load only files that you trust.
    """

    resize = "that of the file's program"

    def __init__(self, path: str):
        super().__init__()
        self.path = Path(path).expanduser()
        self.name = self.path.name

    def read(self) -> str:
        content = content_of(self.path, "write the path of a .pt2 or .pt file of features")
        digest = sha256_of(content)
        try:
            if self.path.suffix == ".pt2":
                self.program = torch.export.load(BytesIO(content)).module()  # has no training mode to leave
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # TorchScript is deprecated, the files that exist are not gone
                    self.program = torch.jit.load(BytesIO(content), map_location="cpu").eval()
        except Exception as error:  # both loaders raise what they like
            raise ConfigError(
                f"{self.path} (SHA-256 {digest}) is no program of features ({type(error).__name__}); write a file of "
                "torch.export.save or torch.jit.save"
            ) from error
        return digest

    def describe(self) -> dict[str, str]:
        return {**super().describe(), "quantisation": "8 bits"}  # whatever the protocol: programs take integers

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        try:
            result = self.program(pixels.round().to(torch.uint8))
            features, logits = (result, result) if isinstance(result, Tensor) else (result[0], result[-1])
            return features.flatten(1).float(), logits.flatten(1).float()
        except Exception as error:  # the program is not ours
            raise ConfigError(
                f"{self.path} does not take uint8 images of {tuple(pixels.shape)} or returns no tensors (B, D) "
                f"({first_words(error)}); write a program that does, exported for any B"
            ) from error


def sha256_of(content: bytes) -> str:
    """The SHA-256 of the content of a file, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def content_of(path: Path, instead: str) -> bytes:
    """The content of a file. Raises ConfigError that says what to write `instead` where there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); {instead}") from error
