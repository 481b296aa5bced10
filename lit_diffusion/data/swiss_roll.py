"""The swiss roll of Sohl-Dickstein et al. 2015: points along a spiral in the plane, whose density is known."""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.data.generated import GeneratedData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError

FIRST, LAST = 1.5 * math.pi, 4.5 * math.pi  # of the angle t
ROWS = 2048  # points whose distances to the whole curve are kept in memory at once


class SwissRoll(GeneratedData):
    """Points (t cos t, t sin t), t ~ U(1.5 pi, 4.5 pi), centred and scaled, plus Gaussian noise: (2,) real values.

    This is the curve of scikit-learn's make_swiss_roll without its third coordinate. The exact mean is subtracted, and
    one scale for both coordinates makes the mean variance of the noisy points 1. noise: standard deviation of the noise
    of each coordinate in the final units; the paper does not state its value. num_train, num_test: points drawn;
    data_seed: the points are a function of it and of the arguments above, and not of the run's seed.
    """

    image_shape = (2,)

    def __init__(
        self,
        batch_size: int = 512,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        noise: float = 0.02,
        num_train: int = 50_000,
        num_test: int = 10_000,
        data_seed: int = 0,
    ):
        super().__init__(batch_size, eval_batch_size, seed, num_train, num_test, data_seed)
        if not 1e-4 <= noise < 1:
            raise ConfigError(f"noise: expected at least 0.0001 and less than 1, got {noise:g}; use 0.02")
        self.noise = noise
        # integrals of t cos t and t sin t; below, of t^2
        x, y = _ends(lambda t: t * math.sin(t) + math.cos(t)), _ends(lambda t: math.sin(t) - t * math.cos(t))
        self._mean = torch.tensor([x, y], dtype=torch.float64) / (LAST - FIRST)
        variance = (_ends(lambda t: t**3 / 3) / (LAST - FIRST) - self._mean.square().sum().item()) / 2
        self._scale = math.sqrt((1 - noise**2) / variance)

    def curve(self, t: Tensor) -> Tensor:
        """The roll without noise: angles (*) in [1.5 pi, 4.5 pi] to points (*, 2)."""
        t = t.double()
        return (torch.stack([t * t.cos(), t * t.sin()], dim=-1) - self._mean) * self._scale

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) in nats, p(x) = integral of N(x; curve(t), noise^2 I) dt / (3 pi): (N, 2) to (N,) float64
        on the CPU. Gauss-Legendre quadrature along the whole curve; time and memory grow as 1 / noise.
        """
        centres, log_weight = self._mixture
        return torch.cat([self._log_mixture(part, centres, log_weight) for part in x.cpu().double().split(ROWS)])

    @cached_property
    def _mixture(self) -> tuple[Tensor, Tensor]:
        """The roll as a mixture of many Gaussians: centres (M, 2) and log weights (M,), float64."""
        arc = self._scale * _ends(lambda t: t**2 / 2)  # nearly the length of the curve
        panels = max(32, math.ceil(arc / (3 * self.noise)))
        t, weight = _gauss_legendre(np.sqrt(np.linspace(FIRST**2, LAST**2, panels + 1)), 8)
        return self.curve(t), (weight / (LAST - FIRST)).log()

    def _log_mixture(self, x: Tensor, centres: Tensor, log_weight: Tensor) -> Tensor:
        precision = 1 / self.noise**2
        # -|x - c|^2 / 2 = x c - |c|^2 / 2 - |x|^2 / 2
        offset = log_weight - centres.square().sum(dim=1) * precision / 2
        exponent = torch.addmm(offset, x, centres.T, alpha=precision).logsumexp(dim=1)
        return exponent - x.square().sum(dim=1) * precision / 2 + math.log(precision / (2 * math.pi))

    @cached_property
    def truth(self) -> float:
        """E[log2 p(x)] of a point x of the roll, minus its differential entropy, to better than 1e-3 bits.

        Quadrature over t and over the noise along and across the curve: Gauss-Legendre on panels that shrink towards
        the ends of the curve, where the density falls off within a few noise widths, and Gauss-Hermite.
        """
        t, weight = _gauss_legendre(self._panels(), 6)
        along, across = (np.polynomial.hermite_e.hermegauss(order) for order in (10, 24))
        share = torch.from_numpy(np.outer(along[1], across[1]) / (2 * math.pi)).flatten()
        eps = torch.cartesian_prod(torch.from_numpy(along[0]), torch.from_numpy(across[0]))
        share, eps = share[share > 1e-9], eps[share > 1e-9]
        reach = self.noise * (eps.norm(dim=1).max() + 8)  # centres further away contribute nothing
        tangent = torch.stack([t.cos() - t * t.sin(), t.sin() + t * t.cos()], dim=-1)
        frame = torch.stack([tangent, torch.stack([-tangent[:, 1], tangent[:, 0]], dim=-1)], dim=1)
        frame = frame / tangent.norm(dim=1)[:, None, None]  # (N, 2, 2): unit vectors along and across the curve
        centres, log_weight = self._mixture
        means = []
        for point, axes in zip(self.curve(t), frame):
            near = (centres - point).norm(dim=1) < reach
            log_p = self._log_mixture(point + self.noise * eps @ axes, centres[near], log_weight[near])
            means.append(log_p @ share)
        return (torch.stack(means) @ weight).item() / (LAST - FIRST) / math.log(2)

    def _panels(self) -> np.ndarray:
        """Increasing angles from end to end: steps of about the noise at both ends, doubling towards the middle."""
        half, sides = (LAST - FIRST) / 2, []
        for end in (FIRST, LAST):
            step, steps = self.noise / (self._scale * end), [0.0]
            while steps[-1] < half:
                steps.append(steps[-1] + min(step, math.pi / 4))
                step *= 2
            sides.append(np.array([*steps[:-1], half]))
        return np.concatenate([FIRST + sides[0], (LAST - sides[1])[-2::-1]])

    def draw(self, split: str, count: int) -> MemoryStore:
        random = self.random(split)
        t, eps = random.uniform(FIRST, LAST, count), random.standard_normal((count, 2))
        return MemoryStore((self.curve(torch.from_numpy(t)) + self.noise * torch.from_numpy(eps)).float())


def _ends(antiderivative: Callable[[float], float]) -> float:
    return antiderivative(LAST) - antiderivative(FIRST)


def _gauss_legendre(edges: np.ndarray, order: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights, (N,) float64 each, of Gauss-Legendre quadrature on each panel between two edges."""
    node, weight = np.polynomial.legendre.leggauss(order)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    nodes, weights = middle[:, None] + np.outer(half, node), np.outer(half, weight)
    return torch.from_numpy(nodes.ravel()), torch.from_numpy(weights.ravel())
