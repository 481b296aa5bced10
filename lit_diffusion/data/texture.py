"""Patches of one picture of a texture, such as the bark in Sohl-Dickstein et al. 2015."""

import math
import os

import numpy as np
import torch

from lit_diffusion.data.generated import GeneratedData
from lit_diffusion.data.image_data import check_channels
from lit_diffusion.data.image_decoding import decode
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError, check_at_least


class Texture(GeneratedData):
    """Random square patches of a picture: (channels, size, size) real values, standardized on the training part.

    Training patches are cut from the left three quarters of the picture, test patches from the right quarter, so that
    no pixel is in both. One mean and one scale, for all channels of both parts, give the pixels of the training part,
    including noise, mean 0 and variance 1.

    file: a picture of 8 bits per channel in a format that `decode` reads; channels: 1 converts to grey, 3 keeps
    colours. noise: width of the uniform noise added to the levels 0..255, drawn anew for each patch: at 1
    (dequantisation), a density of the noisy values bounds the likelihood of the levels; at 0, the values are discrete
    and have no density. num_train, num_test: patches; data_seed: of their positions and noise, which do not depend on
    the run's seed.
    """

    extent = 3.0  # standard deviations

    def __init__(
        self,
        file: str,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        size: int = 32,
        channels: int = 1,
        noise: float = 1.0,
        num_train: int = 5_000,
        num_test: int = 500,
        data_seed: int = 0,
    ):
        super().__init__(batch_size, eval_batch_size, seed, num_train, num_test, data_seed)
        check_at_least(1, size=size)
        check_channels(channels)
        if not 0 <= noise <= 1:
            raise ConfigError(f"noise: expected 0 to 1 levels, got {noise:g}")
        self.image_shape = (channels, size, size)
        self.file, self.noise = os.path.expanduser(file), noise

    def read(self) -> dict[str, MemoryStore]:
        self._left, self._right = self._parts()
        return super().read()

    def draw(self, split: str, count: int) -> MemoryStore:
        mean, scale = self._left.mean(), math.sqrt(self._left.var() + self.noise**2 / 12)
        patches = self._cut(split, self._left if split == "train" else self._right, count)
        return MemoryStore(torch.from_numpy((patches - mean) / scale).float())

    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        """The left three quarters of the picture and the rest: (channels, height, width) float64 levels 0..255 each."""
        channels, size, _ = self.image_shape
        if not os.path.isfile(self.file):
            raise ConfigError(
                f"file: expected an existing file, got {self.file!r}; use the path of one, such as photos/bark.png"
            )
        try:
            picture = decode(self.file, None, channels).numpy().astype(np.float64)
        except ConfigError as error:
            raise ConfigError(f"file: {error}") from error
        height, width = picture.shape[1:]
        if height < size or width < 4 * size:
            raise ConfigError(
                f"file: expected {4 * size}x{size} or more, for patches of {size} from the left three quarters and the "
                f"right quarter, but {self.file} is {width}x{height}; use a larger picture or a smaller size"
            )
        border = width - width // 4
        left, right = picture[:, :, :border], picture[:, :, border:]
        if left.min() == left.max():
            raise ConfigError(f"file: the left part of {self.file} has only one colour; use a picture of a texture")
        return left, right

    def _cut(self, split: str, part: np.ndarray, count: int) -> np.ndarray:
        """Patches at random positions, with noise: (count, channels, size, size) levels."""
        random = self.random(split)
        windows = np.lib.stride_tricks.sliding_window_view(part, self.image_shape[1:], axis=(1, 2))
        top, left = (random.randint(places, size=count) for places in windows.shape[1:3])
        patches = windows[:, top, left].swapaxes(0, 1)
        return patches + self.noise * (random.random_sample(patches.shape) - 0.5)
