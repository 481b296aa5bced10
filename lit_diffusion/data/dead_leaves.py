"""Dead leaves, as in Sohl-Dickstein et al. 2015: pictures of discs that occlude one another, painted front to back."""

import math

import numpy as np
import torch

from lit_diffusion.data.generated import GeneratedData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError

BLOCK = 16_384  # pixels of images that are painted together
ROUND = 32  # discs of each image between two looks at what is still bare


class DeadLeaves(GeneratedData):
    """The occlusion model (Lee, Mumford & Huang 2001): (channels, size, size) real values of mean 0 and variance 1.

    Discs lie uniformly in the plane, their radii of density ~ r^-3 between `r_min` and `r_max` pixels (`r_max` is by
    default the size), each of one grey (channels 1) or colour (3) uniform in every channel. A pixel shows the first
    disc that covers its centre. Mean and variance are exact: those of the colours and of the noise.

    noise: standard deviation of Gaussian noise on every pixel, in these final units and counted in the variance.
    Without it (0) neighbours in one leaf are equal, the pictures have no density, and a likelihood of them is bounded
    by nothing but the first step of the noise schedule; the paper does not say what it added. 5,000 pictures of 32x32
    take about 4 seconds to paint. num_train, num_test: pictures; data_seed: what they are a function of, with the
    arguments above, and not the run's seed.
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
        if size < 2:
            raise ConfigError(f"size: {size} is no picture; write 2 or more pixels, as 32")
        if channels not in (1, 3):
            raise ConfigError(f"channels: {channels}; write 1 for grey or 3 for colour")
        if not 0.5 <= r_min < r_max < math.inf:
            raise ConfigError(f"r_min: {r_min:g}, r_max: {r_max:g}; write 0.5 pixels or more, and more than that")
        if not 0 <= noise < 1:
            raise ConfigError(f"noise: {noise:g} is not a part of a variance of 1; write 0 or more and less than 1")
        self.image_shape = (channels, size, size)
        self.r_min, self.r_max, self.noise = r_min, r_max, noise

    def read(self) -> dict[str, MemoryStore]:
        return {"train": self._draw("train", self.num_train), "test": self._draw("test", self.num_test)}

    def _draw(self, split: str, count: int) -> MemoryStore:
        random = self.random(split)
        images, block = torch.empty(count, *self.image_shape), max(1, BLOCK // self.image_shape[1] ** 2)
        for first in range(0, count, block):
            part = images[first : first + block]
            colours = self._paint(len(part), random).transpose(0, 3, 1, 2)
            leaves = (colours - 0.5) * math.sqrt(12 * (1 - self.noise**2))
            part.copy_(torch.from_numpy(leaves + self.noise * random.standard_normal(leaves.shape)))
        return MemoryStore(images)

    def _paint(self, count: int, random: np.random.RandomState) -> np.ndarray:
        """Covered canvases, (count, size, size, channels) in [0, 1)."""
        channels, size, _ = self.image_shape
        canvas = np.full((count, size, size, channels), np.nan)
        while np.isnan(canvas).any():
            discs = draw_discs((count, ROUND), size, self.r_min, self.r_max, random)
            paint(canvas, discs, random.random_sample((count, ROUND, channels)))
        return canvas


def paint(canvas: np.ndarray, discs: np.ndarray, colours: np.ndarray) -> None:
    """Lays discs behind what is painted: each bare pixel takes the colour of the first disc that covers its centre.

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

    Those of radius r have their centres in a square of side size + 2 r, so that their radii have the density
    r^-3 (size + 2 r)^2 = size^2 r^-3 + 4 size r^-2 + 4 r^-1, a mixture of three power laws. Discs that do not meet the
    picture would change nothing. Returns (*shape, 3): x, y, radius in pixels, the picture from 0 to size.
    """
    a, b = r_min, r_max
    mass = np.array([size**2 * (a**-2 - b**-2) / 2, 4 * size * (1 / a - 1 / b), 4 * math.log(b / a)])
    law, u = random.choice(3, shape, p=mass / mass.sum()), random.random_sample(shape)
    inverses = [(a**-2 + u * (b**-2 - a**-2)) ** -0.5, 1 / (1 / a + u * (1 / b - 1 / a)), a * (b / a) ** u]
    radius = np.choose(law, inverses)[..., None]
    return np.concatenate([random.random_sample((*shape, 2)) * (size + 2 * radius) - radius, radius], axis=-1)
