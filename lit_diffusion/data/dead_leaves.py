"""Dead leaves (Sohl-Dickstein et al. 2015): pictures of discs that occlude one another, painted front to back."""

import math

import numpy as np
import torch

from lit_diffusion.data.generated import GeneratedData
from lit_diffusion.data.image_data import check_channels
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError, check_at_least

BLOCK = 16_384  # pixels of the images painted together
ROUND = 32  # discs painted per image before bare pixels are counted again


class DeadLeaves(GeneratedData):
    """The occlusion model (Lee, Mumford & Huang 2001): (channels, size, size) real values of mean 0 and variance 1.

    Discs lie uniformly in the plane. Their radii have density ~ r^-3 between `r_min` and `r_max` pixels (`r_max` is by
    default the size). Each disc has one grey value (channels 1) or colour (3), uniform in every channel. A pixel shows
    the first disc that covers its centre. The moments are exact, computed from the colours and the noise.

    noise: standard deviation of Gaussian noise on every pixel, in the final units and counted in the variance. Without
    it (0), pixels of one leaf are equal, the pictures have no density, and only the first step of the noise schedule
    bounds their likelihood; the paper does not say how much it added. 5,000 pictures of 32x32 take about 4 seconds.
    num_train, num_test: pictures; data_seed: the pictures are a function of it and of the arguments above, and not of
    the run's seed.
    """

    extent = 3**0.5  # the range of uniform shades of unit variance

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        size: int = 32,
        channels: int = 1,
        r_min: float = 1.0,
        r_max: float | None = None,
        noise: float = 0.02,
        num_train: int = 5_000,
        num_test: int = 500,
        data_seed: int = 0,
    ):
        super().__init__(batch_size, eval_batch_size, seed, num_train, num_test, data_seed)
        r_max = size if r_max is None else r_max
        check_at_least(2, size=size)
        check_channels(channels)
        if not 0.5 <= r_min < r_max < math.inf:
            raise ConfigError(f"r_min: expected 0.5 <= r_min < r_max pixels, got {r_min:g} and {r_max:g}")
        if not 0 <= noise < 1:
            raise ConfigError(f"noise: expected 0 or more and less than 1, got {noise:g}")
        self.image_shape = (channels, size, size)
        self.r_min, self.r_max, self.noise = r_min, r_max, noise

    def draw(self, split: str, count: int) -> MemoryStore:
        random = self.random(split)
        images, block = torch.empty(count, *self.image_shape), max(1, BLOCK // self.image_shape[1] ** 2)
        for first in range(0, count, block):
            part = images[first : first + block]
            colours = self._paint(len(part), random).transpose(0, 3, 1, 2)
            leaves = (colours - 0.5) * math.sqrt(12 * (1 - self.noise**2))
            part.copy_(torch.from_numpy(leaves + self.noise * random.standard_normal(leaves.shape)))
        return MemoryStore(images)

    def _paint(self, count: int, random: np.random.RandomState) -> np.ndarray:
        """Completely painted canvases, (count, size, size, channels) in [0, 1)."""
        channels, size, _ = self.image_shape
        canvas = np.full((count, size, size, channels), np.nan)
        while np.isnan(canvas).any():
            discs = draw_discs((count, ROUND), size, self.r_min, self.r_max, random)
            paint(canvas, discs, random.random_sample((count, ROUND, channels)))
        return canvas


def paint(canvas: np.ndarray, discs: np.ndarray, colours: np.ndarray) -> None:
    """Paints discs behind earlier ones: a bare pixel takes the colour of the first disc that covers its centre.

    canvas: (B, S, S, C), changed in place, NaN where bare; the pixel of row i and column j has its centre at
    x = j + 1/2, y = i + 1/2. discs: (B, K, 3), x, y and radius in pixels, front to back; colours: (B, K, C).
    """
    image, row, column = np.isnan(canvas[..., 0]).nonzero()
    x, y, radius = np.moveaxis(discs, -1, 0)[:, image]  # (M, K) each, M bare pixels
    covers = (x - column[:, None] - 0.5) ** 2 + (y - row[:, None] - 0.5) ** 2 <= radius**2
    hit, first = covers.any(axis=1), covers.argmax(axis=1)
    canvas[image[hit], row[hit], column[hit]] = colours[image[hit], first[hit]]


def draw_discs(
    shape: tuple[int, int], size: int, r_min: float, r_max: float, random: np.random.RandomState
) -> np.ndarray:
    """Discs uniform in the plane, of radius density ~ r^-3, given that the square around each meets the picture.

    Discs of radius r then have their centres in a square of side size + 2 r, so that the radii have the density
    r^-3 (size + 2 r)^2 = size^2 r^-3 + 4 size r^-2 + 4 r^-1, a mixture of three power laws. Other discs would change
    nothing. Returns (*shape, 3): x, y, radius in pixels, with the picture from 0 to size.
    """
    a, b = r_min, r_max
    mass = np.array([size**2 * (a**-2 - b**-2) / 2, 4 * size * (1 / a - 1 / b), 4 * math.log(b / a)])
    law, u = random.choice(3, shape, p=mass / mass.sum()), random.random_sample(shape)
    inverses = [(a**-2 + u * (b**-2 - a**-2)) ** -0.5, 1 / (1 / a + u * (1 / b - 1 / a)), a * (b / a) ** u]
    radius = np.choose(law, inverses)[..., None]
    return np.concatenate([random.random_sample((*shape, 2)) * (size + 2 * radius) - radius, radius], axis=-1)
