"""Log-likelihoods by Parzen windows: the density of a mixture of Gaussians around a model's samples."""

import math

import torch
from torch import Tensor

PAIRS = 2 * 10**6  # of an image and a sample, whose distances are in memory at once


class ParzenWindows:
    """log p(x) = log 1/N sum_n N(x; y_n, sigma^2 I) of images x, for several sigmas at once, in float64 nats.

    Samples y_n arrive in blocks, in any order, and are not kept: each image and sigma has a running log-sum-exp.
    `merge` adds those of several processes, each with its own samples.

    sigmas: (S,). num_images: M. dimensions: D, the number of values in an image.
    """

    def __init__(self, sigmas: Tensor, num_images: int, dimensions: int, device: torch.device = torch.device("cpu")):
        self.sigmas = sigmas.double().to(device)
        self.dimensions = dimensions
        # log sum_n exp(-|x - y_n|^2 / (2 sigma^2))
        self.log_sums = torch.full((len(sigmas), num_images), -math.inf, dtype=torch.float64, device=device)

    def add(self, first: int, x: Tensor, y: Tensor) -> None:
        """Adds samples y (N, *) to the sums of images x (B, *), numbered from `first`."""
        x, y = x.flatten(1).to(self.sigmas), y.flatten(1).to(self.sigmas)
        log_sums = self.log_sums[:, first : first + len(x)]
        for part in y.split(max(1, PAIRS // max(1, len(x)))):
            squares = squared_distances(x, part)
            for log_sum, sigma in zip(log_sums, self.sigmas):
                torch.logaddexp(log_sum, (squares / (-2 * sigma**2)).logsumexp(dim=1), out=log_sum)

    def merge(self, log_sums: Tensor) -> None:
        """Replaces the sums by those of all R processes, this one included. log_sums: (R, S, M)."""
        self.log_sums = log_sums.logsumexp(dim=0)

    def log_density(self, num_samples: int) -> Tensor:
        """log p(x) in nats for each sigma and image, (S, M). num_samples: N over all processes."""
        scale = self.dimensions * (self.sigmas.log() + math.log(2 * math.pi) / 2)
        return self.log_sums - math.log(num_samples) - scale[:, None]


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x - y|^2, (B, N), for x (B, D) and y (N, D) in float64; an offset that they share costs no digits."""
    centre = x.mean(dim=0)
    x, y = x - centre, y - centre
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_(min=0)
