"""Images that somebody has, in place of a split of a data set."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import ImageStore, MemoryStore
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_levels

ArrayLike = Tensor | np.ndarray | Sequence[int]
FURTHEST = 2.0  # from 0 that values meant to be in [-1, 1] may be: solvers overshoot, images in 0..255 are far away


def levels_of(name: str, images: Tensor, num_levels: int) -> Tensor:
    """Images in [-1, 1], or integer levels, as levels on the CPU: uint8, or int32 for more than 256.

    Raises ConfigError, which calls them `name`, for values that can be neither.
    """
    images = images.cpu()
    if images.dtype == torch.bool or images.is_complex():
        raise ConfigError(f"{name}: expected floats in [-1, 1] or integer levels, got {images.dtype}")
    if not images.isfinite().all():
        raise ConfigError(f"{name}: expected finite values, got NaN or infinity")
    if images.dtype == torch.uint16:
        images = images.int()  # torch has hardly any operation on uint16
    least, most = (one.item() for one in images.aminmax())  # of Python, since comparisons of uint8 with 256 overflow
    of_floats = images.is_floating_point()
    if of_floats and max(-least, most) > FURTHEST or not of_floats and not 0 <= least <= most < num_levels:
        expected = "values in [-1, 1]" if of_floats else f"levels 0 to {num_levels - 1}"
        brightest = next((one for one in (num_levels - 1, 255) if least >= 0 and most <= one), None)
        remedy = f"; pass images / {brightest / 2:g} - 1" if brightest else ""
        raise ConfigError(f"{name}: expected {expected}, got {least:g} to {most:g}{remedy}")
    return to_levels(images, num_levels) if of_floats else images.to(torch.uint8 if num_levels <= 256 else torch.int32)


class GivenImages(ImageData):
    """`data` whose test split is other examples (N, *), as served: images in [-1, 1], or integer levels.

    labels: (N,) classes, or None. Raises ConfigError for examples of another shape or range, or that are not finite,
    and for labels that are not theirs.
    """

    def __init__(self, data: ImageData, examples: ArrayLike, labels: ArrayLike | None = None):
        super().__init__(batch_size=data.batch_size, eval_batch_size=data.eval_batch_size)
        self.data, self.image_shape, self.num_levels, self.extent = data, data.image_shape, data.num_levels, data.extent
        self.class_names, self.log_volume = data.class_names, data.log_volume
        self.bits_per_example = data.bits_per_example
        self.examples = self._stored(torch.as_tensor(examples))
        self.given_labels = None if labels is None else self._checked(torch.as_tensor(labels).cpu())
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

    def _checked(self, labels: Tensor) -> Tensor:
        """Labels as a store holds them."""
        if labels.shape != (len(self.examples),):
            raise ConfigError(f"labels: expected {len(self.examples)}, one an image, got shape {tuple(labels.shape)}")
        if labels.dtype == torch.bool or labels.is_floating_point():
            raise ConfigError(f"labels: expected integers, got {labels.dtype}")
        labels, classes = labels.long(), self.data.num_classes
        if classes and not 0 <= labels.min() <= labels.max() < classes:
            raise ConfigError(f"labels: expected 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
        return labels

    def labels(self, split: str) -> Tensor:
        if split == "test" and self.given_labels is None:
            raise ConfigError("labels: expected one for each image, as the model takes labels; pass them")
        return super().labels(split)

    def read(self) -> Mapping[str, ImageStore]:
        return {"train": self.data.store("train"), "test": MemoryStore(self.examples, self.given_labels)}

    def log_density(self, x: Tensor) -> Tensor | None:
        return self.data.log_density(x)

    def restore(self, x: Tensor) -> Tensor:
        return self.data.restore(x)
