"""Feature extractors: from images to features (for FID, KID, precision and recall) and logits (for IS)."""

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

    Weights are read by `load`, not at construction, so that a run without scores needs none. name: the label of the
    scores. resize: how images are brought to the network's size. batch_size: images in a forward pass. class_names: of
    the logits; empty if they are not those of a data set's labels.
    """

    name: str
    resize: str
    batch_size = 64
    class_names: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = ""

    def load(self) -> None:
        """Reads the weights once. Raises ConfigError with the file and its hash if that fails."""
        if not self.sha256:
            with torch.random.fork_rng(devices=[]):  # building a network draws initial weights
                self.sha256 = self.read()
            self.requires_grad_(False)

    @abstractmethod
    def read(self) -> str:
        """Builds the network from its file, in evaluation mode, and returns the file's SHA-256."""

    @property
    def key(self) -> str:
        """Identifies the features: extractors with equal keys compute the same."""
        return f"{self.name} {self.sha256}"

    def check(self, image_shape: tuple[int, ...]) -> str | None:
        """Raises ConfigError if images (C, H, W) are not supported; returns a note for the user, or None."""
        return None

    def describe(self) -> dict[str, str]:
        """The extractor's part of a score's protocol."""
        return {"features": self.name, "features_sha256": self.sha256, "resize": self.resize}


class FileFeatures(FeatureExtractor):
    """The features of a user's program in the file `path`: a torch.export archive (.pt2) or a TorchScript module (.pt).

    It is called with images (B, C, H, W) uint8, for any B, and returns features (B, D), or features and logits (B, K);
    without logits, IS is computed from the features. Programs are code: load only files that you trust.
    """

    resize = "that of the file's program"

    def __init__(self, path: str):
        super().__init__()
        self.path = Path(path).expanduser()
        self.name = self.path.name

    def read(self) -> str:
        content = read_bytes(self.path, "set path to a .pt2 or .pt file")
        digest = sha256_of(content)
        try:
            if self.path.suffix == ".pt2":
                self.program = torch.export.load(BytesIO(content)).module()  # has no training mode
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that TorchScript is deprecated
                    self.program = torch.jit.load(BytesIO(content), map_location="cpu").eval()
        except Exception as error:  # both loaders raise various types
            raise ConfigError(
                f"{self.path} (SHA-256 {digest}): expected a file of torch.export.save or torch.jit.save, but loading "
                f"it failed ({type(error).__name__}); save the program again"
            ) from error
        return digest

    def describe(self) -> dict[str, str]:
        return {**super().describe(), "quantisation": "8 bits"}  # under every protocol: programs receive integers

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        try:
            result = self.program(pixels.round().to(torch.uint8))
            features, logits = (result, result) if isinstance(result, Tensor) else (result[0], result[-1])
            return features.flatten(1).float(), logits.flatten(1).float()
        except Exception as error:  # a user's program raises anything
            raise ConfigError(
                f"{self.path}: expected a program from uint8 images {tuple(pixels.shape)} to tensors (B, D), but it "
                f"failed ({first_words(error)}); export it for such images and any B"
            ) from error


def in_words(image_shape: tuple[int, ...]) -> str:
    """Images (C, H, W) as a user calls them; those of one channel may be files in colours, read as grey.

    >>> in_words((3, 32, 48)), in_words((1, 8, 8)), in_words((5, 8, 8)), in_words((2,))
    ('RGB images of 48x32 pixels', 'images of 8x8 pixels', '5-channel images of 8x8 pixels', 'vectors of 2 values')
    """
    if len(image_shape) != 3:
        return f"vectors of {' x '.join(map(str, image_shape))} values"
    channels, height, width = image_shape
    colours = {1: "", 3: "RGB "}.get(channels, f"{channels}-channel ")
    return f"{colours}images of {width}x{height} pixels"


def sha256_of(content: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_bytes(path: Path, repair: str) -> bytes:
    """The content of a file. Raises ConfigError, ending in `repair`, if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); {repair}") from error
