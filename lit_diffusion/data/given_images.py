"""Images that somebody has, in place of a split of a data set."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import ImageStore, MemoryStore
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_levels

FURTHEST = 2.0  # from 0 that values meant to be in [-1, 1] may be: solvers overshoot, images in 0..255 are far away


def levels_of(name: str, images: Tensor, num_levels: int) -> Tensor:
    """Images in [-1, 1], or integer levels, as levels on the CPU: uint8, or int32 for more than 256.

    Raises ConfigError, which calls them `name`, for values that can be neither.
    """
    images = images.cpu()
    if not images.is_floating_point():
        if images.min() < 0 or images.max() >= num_levels:
            raise ConfigError(f"{name}: expected levels 0 to {num_levels - 1}, got {images.min()} to {images.max()}")
        return images.to(torch.uint8 if num_levels <= 256 else torch.int32)
    if not images.isfinite().all():
        raise ConfigError(f"{name}: expected finite values, got NaN or infinity")
    if images.abs().max() > FURTHEST:
        raise ConfigError(
            f"{name}: expected values in [-1, 1], got {images.min():.4g} to {images.max():.4g}; pass images / "
            f"{(num_levels - 1) / 2:g} - 1, or integer levels"
        )
    return to_levels(images, num_levels)


class GivenImages(ImageData):
    """`data` whose test split is other examples (N, *), as served: images in [-1, 1], or integer levels.

    labels: (N,) classes, or None. Raises ConfigError for examples of another shape or range, or that are not finite.
    """

    def __init__(self, data: ImageData, examples: Tensor, labels: Tensor | None = None):
        super().__init__(batch_size=data.batch_size, eval_batch_size=data.eval_batch_size)
        self.data, self.image_shape, self.num_levels, self.extent = data, data.image_shape, data.num_levels, data.extent
        self.class_names, self.log_volume = data.class_names, data.log_volume
        self.bits_per_example = data.bits_per_example
        self.examples, self.given_labels = self._stored(examples), labels
        if labels is not None and labels.shape != (len(examples),):
            raise ConfigError(f"labels: expected {len(examples)}, one an image, got shape {tuple(labels.shape)}")
        self.setup()

    def _stored(self, examples: Tensor) -> Tensor:
        """Examples as a store holds them."""
        shape, levels = tuple(self.image_shape), self.num_levels
        if tuple(examples.shape[1:]) != shape or not len(examples):
            expected = f"(N, {', '.join(map(str, shape))})"
            raise ConfigError(f"images: expected shape {expected}, got {tuple(examples.shape)}")
        if levels is not None:
            return levels_of("images", examples, levels)
        if not examples.isfinite().all():
            raise ConfigError("images: expected finite values, got NaN or infinity")
        return examples.float().cpu()

    def read(self) -> Mapping[str, ImageStore]:
        return {"train": self.data.store("train"), "test": MemoryStore(self.examples, self.given_labels)}

    def log_density(self, x: Tensor) -> Tensor | None:
        return self.data.log_density(x)

    def restore(self, x: Tensor) -> Tensor:
        return self.data.restore(x)
