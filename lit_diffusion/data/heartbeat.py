"""The heartbeat of Sohl-Dickstein et al. 2015: binary sequences of one regular pulse at a random phase."""

import math

import torch
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError


class Heartbeat(ImageData):
    """Sequences of `length` bins, 1 in every `period`-th bin and 0 elsewhere: (length,), served as 1 and -1.

    There are `period` distinct sequences, one for each phase, of equal probability: each has log2(1 / period) bits.
    Each split holds every phase equally often, so that means over a split are expectations over the distribution.
    num_train, num_test: number of sequences, multiples of the period.
    """

    num_levels = 2

    def __init__(
        self,
        batch_size: int = 512,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        length: int = 20,
        period: int = 5,
        num_train: int = 10_000,
        num_test: int = 1_000,
    ):
        super().__init__(batch_size, eval_batch_size, seed=seed)
        if not 2 <= period <= length:
            raise ConfigError(f"period: expected 2 to {length}, the length; got {period}")
        for name, count, least in (("num_train", num_train, period), ("num_test", num_test, 0)):
            if count < least or count % period:
                near = max(least, round(count / period) * period)
                raise ConfigError(f"{name}: expected a multiple of the period, {period}; got {count}; use {near}")
        self.image_shape = (length,)
        self.period, self.num_train, self.num_test = period, num_train, num_test

    def read(self) -> dict[str, MemoryStore]:
        beats = self._beats().to(torch.uint8)
        return {
            "train": MemoryStore(beats.repeat(self.num_train // self.period, 1)),
            "test": MemoryStore(beats.repeat(self.num_test // self.period, 1)),
        }

    def log_density(self, x: Tensor) -> Tensor:
        """-log(period) nats for heartbeats, -inf for other sequences: (N, length) to (N,) float64 on the CPU."""
        known = (x.cpu()[:, None] == 2.0 * self._beats() - 1).all(dim=2).any(dim=1)
        return torch.where(known, torch.tensor(-math.log(self.period), dtype=torch.float64), -math.inf)

    def _beats(self) -> Tensor:
        """One sequence per phase: (period, length) bool."""
        phases = torch.arange(self.period)[:, None]
        return (torch.arange(*self.image_shape) - phases) % self.period == 0
