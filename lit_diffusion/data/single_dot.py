"""One bright pixel at a random place: images whose entropy is known, an exercise of lectures."""

import math

import torch
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError, check_at_least


class SingleDot(ImageData):
    """Images (1, height, width), all -1 but for one pixel of 1, which is anywhere with equal probability.

    Each image has log2(height * width) bits. Each split has the dot at every place equally often, so that means over a
    split are expectations over the distribution. width: by default the height. num_train, num_test: number of images,
    multiples of height * width. K and the gap to the truth are in bits an image.
    """

    num_levels = 2
    bits_per_example = True

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        height: int = 8,
        width: int | None = None,
        num_train: int = 6_400,
        num_test: int = 640,
    ):
        super().__init__(batch_size, eval_batch_size, seed=seed)
        width = height if width is None else width
        check_at_least(1, height=height, width=width)
        places = height * width
        if places < 2:
            raise ConfigError(f"height: expected two pixels or more an image, got {height}x{width}")
        for name, count, least in (("num_train", num_train, places), ("num_test", num_test, 0)):
            if count < least or count % places:
                near = max(least, round(count / places) * places)
                raise ConfigError(f"{name}: expected a multiple of the {places} pixels, got {count}; use {near}")
        self.image_shape = (1, height, width)
        self.num_train, self.num_test = num_train, num_test

    @property
    def places(self) -> int:
        """Pixels of an image."""
        return math.prod(self.image_shape)

    def read(self) -> dict[str, MemoryStore]:
        dots = torch.eye(self.places, dtype=torch.uint8).view(-1, *self.image_shape)
        return {
            "train": MemoryStore(dots.repeat(self.num_train // self.places, 1, 1, 1)),
            "test": MemoryStore(dots.repeat(self.num_test // self.places, 1, 1, 1)),
        }

    def log_density(self, x: Tensor) -> Tensor:
        """-log(height * width) nats for images of one dot, -inf for others: (N, 1, H, W) to (N,) float64 on the CPU."""
        values = x.cpu().flatten(1)
        dots = ((values == 1).sum(1) == 1) & ((values == -1).sum(1) == self.places - 1)
        return torch.where(dots, torch.tensor(-math.log(self.places), dtype=torch.float64), -math.inf)
