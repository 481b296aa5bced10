"""Protocols: everything beside the images that a score depends on."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_levels


class Protocol(ABC):
    """How images are compared. Defaults of all numbers are torch-fidelity's.

    splits: parts of the samples over which IS is averaged. kid_subsets of kid_subset_size images: over which KID is
    averaged; of all images where there are fewer. neighbours: k of precision and recall. 0 subsets or neighbours: no
    KID, no precision and recall. max_features: KID, precision and recall look at every n-th image, the smallest n that
    leaves at most that many; so memory is bounded (Inception's 50,000 take 410 MB). FID and IS always look at all.
    seed: of IS's shuffle and KID's subsets, as torch-fidelity's rng_seed.
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
        smallest = {"splits": 1, "kid_subsets": 0, "kid_subset_size": 2, "neighbours": 0, "max_features": 2, "seed": 0}
        given = {
            "splits": splits,
            "kid_subsets": kid_subsets,
            "kid_subset_size": kid_subset_size,
            "neighbours": neighbours,
            "max_features": max_features,
            "seed": seed,
        }
        for name, value in given.items():
            if value < smallest[name]:
                raise ConfigError(f"{name}: {value} is too small; write {smallest[name]} or more")
        least = 2 * (neighbours + 1)  # every n-th image may leave half of max_features
        if neighbours and max_features < least:
            raise ConfigError(
                f"max_features: {max_features} are too few for {neighbours} neighbours; write {least} or more"
            )
        self.splits, self.seed = splits, seed
        self.kid_subsets, self.kid_subset_size = kid_subsets, kid_subset_size
        self.neighbours, self.max_features = neighbours, max_features

    @abstractmethod
    def pixels(self, x: Tensor) -> Tensor:
        """Images x (B, C, H, W) in [-1, 1] as the extractor sees them: floats in [0, 255]."""

    @property
    def key(self) -> str:
        """Identifies what statistics of images depend on."""
        return f"{type(self).__module__}.{type(self).__qualname__} {self.max_features}"

    def stride(self, num_images: int) -> int:
        """KID, precision and recall take every `stride`-th of that many images."""
        return -(-num_images // self.max_features)

    def check(self, num_samples: int, num_reference: int, reference: str) -> None:
        """Raises ConfigError where there are too few images to compute a score from."""
        if num_samples < self.splits:
            raise ConfigError(
                f"{num_samples} samples are fewer than the {self.splits} splits of IS; take more samples or fewer "
                "splits"
            )
        needed = max(2, self.neighbours + 1)
        for count, what in ((num_samples, "samples"), (num_reference, f"reference images ({reference})")):
            if count < needed:
                raise ConfigError(
                    f"{count} {what} are too few: FID needs 2, precision and recall one more than their "
                    f"{self.neighbours} neighbours; take {needed} or more"
                )

    def describe(self) -> dict[str, Any]:
        """What of this stands beside every score."""
        return {
            "protocol": type(self).__name__,
            "quantisation": "8 bits" if self.quantised else "none, clipped to [-1, 1]",
        }


class TorchFidelity(Protocol):
    """Images of 8 bits against the training split, as torch-fidelity scores two folders of PNG files."""

    quantised = True
    references = ("train",)

    def pixels(self, x: Tensor) -> Tensor:
        return to_levels(x, 256).float()


class DDPMRelease(Protocol):
    """Floats, clipped to [-1, 1] but not rounded, against both training and test split  (Ho et al. 2020, code)."""

    quantised = False
    references = ("train", "test")

    def pixels(self, x: Tensor) -> Tensor:
        return x.float().clamp(-1, 1).add_(1).mul_(127.5)
