"""Which images form which batch: pure functions of (seed, epoch, position), without state."""

from functools import lru_cache

import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.seeding import derive_seed, seed_generator


class TrainPlan:
    """The images and flips of every training batch, on one of `world_size` ranks.

    Each epoch is a new permutation of all images. Batches are numbered 0, 1, 2 ... from the start of training. Batch n
    is number b = n mod `len(plan)` of its epoch and holds positions [b G, (b+1) G) of the permutation, where G is
    `batch_size`, the batch of all ranks together; rank r of W takes the r-th of W equal parts of it. Any number of
    ranks thus sees the same images. The incomplete last batch of an epoch is dropped, never padded; the next
    permutation drops other images.

    Raises ConfigError if `batch_size` is not in 1..num_images or not divisible by the number of ranks.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1):
        if not 1 <= batch_size <= num_images:
            raise ConfigError(
                f"batch_size: expected 1 to {num_images}, the number of training images; got {batch_size}"
            )
        if batch_size % world_size:
            raise ConfigError(indivisible("batch_size", batch_size, world_size))
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        share = batch_size // world_size
        self._share = slice(rank * share, (rank + 1) * share)
        self._epoch = lru_cache(maxsize=2)(
            self._draw
        )  # 2, since prefetching workers may be an epoch ahead of the flips

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.num_images // self.batch_size

    def indices(self, batch: int) -> Tensor:
        """Images of this rank's share of batch number `batch`: (batch_size / world_size,) int64 on the CPU."""
        return self._part(batch)[0]

    def flips(self, batch: int) -> Tensor:
        """Which of these images are flipped horizontally, each with probability 1/2: same shape, bool."""
        return self._part(batch)[1]

    def _part(self, batch: int) -> tuple[Tensor, Tensor]:
        epoch, b = divmod(batch, len(self))
        order, flips = self._epoch(epoch)
        batch_of_all = slice(b * self.batch_size, (b + 1) * self.batch_size)
        return order[batch_of_all][self._share], flips[batch_of_all][self._share]

    def _draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        order = seed_generator(torch.Generator(), derive_seed(self.seed, "order", epoch))
        flip = seed_generator(torch.Generator(), derive_seed(self.seed, "flip", epoch))
        return torch.randperm(self.num_images, generator=order), torch.rand(self.num_images, generator=flip) < 0.5


def indivisible(name: str, batch_size: int, world_size: int) -> str:
    """The error message for a batch size of all devices that is not divisible among them."""
    near = max(1, round(batch_size / world_size)) * world_size
    return (
        f"{name}: expected a multiple of {world_size}, since it is the batch of all {world_size} devices; got "
        f"{batch_size}; use {near}"
    )


class EvalPlan:
    """Every image once, in file order, without padding: rank r of W takes images r, r+W, r+2W, ...

    `batch_size` is the batch of all ranks together. Ranks may differ by one image, and so by one batch: reduce sums
    over ranks at the end of an evaluation, not in its steps.
    """

    def __init__(self, num_images: int, batch_size: int, rank: int = 0, world_size: int = 1):
        share = -(-batch_size // world_size)
        self._batches = torch.arange(rank, num_images, world_size).split(share) if rank < num_images else ()

    def __len__(self) -> int:
        """Batches on this rank."""
        return len(self._batches)

    def indices(self, batch: int) -> Tensor:
        """Images of batch number `batch` on this rank: (B,) int64 on the CPU."""
        return self._batches[batch]
