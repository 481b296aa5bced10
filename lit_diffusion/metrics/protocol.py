"""Protocols: everything besides the images that a score depends on."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.pixels import to_levels


class Protocol(ABC):
    """How images are compared. All default numbers are torch-fidelity's.

    splits: parts of the samples over which IS is averaged. kid_subsets: number of random subsets over which KID is
    averaged; 0 disables KID. kid_subset_size: images in each subset, or all images if there are fewer. neighbours: k of
    precision and recall; 0 disables them. max_features: KID, precision and recall use every n-th image, with the
    smallest n that leaves at most this many, to bound memory (50,000 features of Inception take 410 MB); FID and IS use
    all images. seed: of IS's shuffle and KID's subsets, like torch-fidelity's rng_seed.
    """

    quantised: bool
    references: tuple[str, ...]

    def __init__(
        self,
        splits: int = 10,
        kid_subsets: int = 100,
        kid_subset_size: int = 1000,
        neighbours: int = 3,
        max_features: int = 50_000,
        seed: int = 2020,
    ):
        check_at_least(0, kid_subsets=kid_subsets, neighbours=neighbours, seed=seed)
        check_at_least(1, splits=splits)
        check_at_least(2, kid_subset_size=kid_subset_size, max_features=max_features)
        least = 2 * (neighbours + 1)  # every n-th image may leave only half of max_features
        if neighbours and max_features < least:
            raise ConfigError(f"max_features: expected {least} or more for {neighbours} neighbours, got {max_features}")
        self.splits, self.seed = splits, seed
        self.kid_subsets, self.kid_subset_size = kid_subsets, kid_subset_size
        self.neighbours, self.max_features = neighbours, max_features

    @abstractmethod
    def pixels(self, x: Tensor) -> Tensor:
        """Images x (B, C, H, W) in [-1, 1] as the extractor receives them: floats in [0, 255]."""

    @property
    def key(self) -> str:
        """Identifies the settings on which statistics of images depend."""
        return f"{type(self).__module__}.{type(self).__qualname__} {self.max_features}"

    def stride(self, num_images: int) -> int:
        """The n for which KID, precision and recall use every n-th of `num_images` images.

        >>> TorchFidelity(max_features=100).stride(250)
        3
        """
        return -(-num_images // self.max_features)

    def check(self, num_samples: int, num_reference: int, reference: str) -> None:
        """Raises ConfigError if there are too few images for a score. reference: its name, for the message."""
        if num_samples < self.splits:
            raise ConfigError(
                f"expected at least {self.splits} samples, one for each split of IS, got {num_samples}; use more "
                "samples or fewer splits"
            )
        needed = max(2, self.neighbours + 1)
        for count, what in ((num_samples, "samples"), (num_reference, f"reference images ({reference})")):
            if count < needed:
                raise ConfigError(
                    f"expected at least {needed} {what}, got {count}: FID needs 2, precision and recall one more than "
                    f"their {self.neighbours} neighbours; use more images"
                )

    def describe(self) -> dict[str, Any]:
        """The settings that every score's protocol states."""
        return {
            "protocol": type(self).__name__,
            "quantisation": "8 bits" if self.quantised else "none, clipped to [-1, 1]",
        }


class TorchFidelity(Protocol):
    """8-bit images against the training split, as torch-fidelity scores two folders of PNG files."""

    quantised = True
    references = ("train",)

    def pixels(self, x: Tensor) -> Tensor:
        return to_levels(x, 256).float()


class DDPMRelease(Protocol):
    """Floats, clipped to [-1, 1] but not rounded, against the training and the test split  (Ho et al. 2020, code)."""

    quantised = False
    references = ("train", "test")

    def pixels(self, x: Tensor) -> Tensor:
        return x.float().clamp(-1, 1).add_(1).mul_(127.5)
