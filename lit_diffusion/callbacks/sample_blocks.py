"""Samples in numbered blocks that devices share: the same images, whatever the number of devices."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import pad

from lit_diffusion.callbacks.ema import weights_in_use
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError


def sample_blocks(
    trainer: Trainer,
    pl_module: LightningModule,
    sampler: Sampler,
    num_samples: int,
    block_size: int,
    advance: Callable[[float], None],
) -> Iterator[tuple[int, Tensor]]:
    """This rank's part of exactly `num_samples` samples: (number of its first image, x_0 (B, C, H, W)) of each block.

    Block b holds images b * block_size onwards, the last block perhaps fewer, and is drawn on rank b mod world size
    with the generator of (seed, b) as `Sampler.__call__` draws; torch's global generators are not touched.
    advance: called after every step of a chain with the images, of all ranks, that the step is worth: together they
        make num_samples on the first rank.
    """
    reverse, rank, ranks = pl_module.reverse, trainer.global_rank, trainer.world_size
    steps = len(sampler.subset(reverse.num_steps))
    for block in range(rank, -(-num_samples // block_size), ranks):
        first, first_of_round = block * block_size, (block - rank) * block_size
        worth = min(ranks * block_size, num_samples - first_of_round) / steps
        generator = pl_module.sample_generator(block)
        shape = (min(block_size, num_samples - first), *trainer.datamodule.image_shape)
        x = reverse.process.prior(shape, reverse.device).sample(generator)
        for step in sampler.chain(reverse, x, generator):
            x = step.x_s
            advance(worth)
        yield first, x


def gather_blocks(
    trainer: Trainer,
    blocks: Iterable[tuple[int, Tensor]],
    num_samples: int,
    block_size: int,
    kept: Callable[[Tensor], Tensor],
) -> Iterator[Tensor]:
    """All images of `sample_blocks` in order, on the first rank: what `kept` makes of them, (B, *), on the CPU.

    blocks: those of this rank. kept: a function of each image alone, as its levels. Every rank must walk through to
    the end; the others get nothing. One block of each rank is in memory at a time. Raises ConfigError, on all ranks
    together, where samples are not finite.
    """
    ranks, shape = trainer.world_size, trainer.datamodule.image_shape
    nothing = torch.empty(0, *shape, device=trainer.strategy.root_device)  # of a rank whose blocks are all drawn
    blocks = iter(blocks)
    for first in range(0, num_samples, ranks * block_size):
        _, x_0 = next(blocks, (first, nothing))
        count = min(ranks * block_size, num_samples - first)
        refuse_divergence(int(trainer.strategy.all_gather(not_finite(x_0)).sum()), first + count)
        missing = block_size - len(x_0)
        whole = pad(kept(x_0), (*[0, 0] * len(shape), 0, missing))  # collectives need one shape
        gathered = trainer.strategy.all_gather(whole).reshape(-1, *shape)[:count]  # only the end was padded
        if trainer.is_global_zero:
            yield gathered.cpu()


def describe_samples(trainer: Trainer, pl_module: LightningModule, sampler: Sampler, block_size: int) -> dict[str, Any]:
    """All that samples are a function of, but for the weights themselves, as it stands beside scores and files."""
    reverse = pl_module.reverse
    return {
        "sampler": type(sampler).__name__,
        **vars(sampler),
        "nfe": len(sampler.subset(reverse.num_steps)),
        "T": reverse.num_steps,
        **reverse.protocol,
        "weights": weights_in_use(trainer),
        "seed": pl_module.seed,
        "block_size": block_size,
        "precision": str(trainer.precision),
    }


def not_finite(images: Tensor) -> Tensor:
    """How many of the images (B, *) hold a number that is not finite: a scalar tensor."""
    return images.isfinite().flatten(1).all(dim=1).logical_not().sum()


def refuse_divergence(bad: int, drawn: int) -> None:
    """Raises ConfigError where `bad` of the images drawn so far are not finite."""
    if bad:
        raise ConfigError(
            f"{bad} of {drawn} samples are not finite: the model has diverged; write an earlier checkpoint",
            key="ckpt_path",
        )
