"""Samples in numbered blocks shared among devices: the same images on any number of devices."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import pad

from lit_diffusion.callbacks.chain_walk import count_non_finite, refuse_non_finite
from lit_diffusion.callbacks.class_labels import sample_labels
from lit_diffusion.callbacks.ema import weights_in_use
from lit_diffusion.callbacks.lookup import data_of, generative_of
from lit_diffusion.diffusion.sampler import Sampler


def sample_blocks(
    trainer: Trainer,
    pl_module: LightningModule,
    sampler: Sampler | None,
    num_samples: int,
    block_size: int,
    advance: Callable[[float], None],
    labels: Tensor | None = None,
    draw: Callable[..., Tensor] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """This rank's share of exactly `num_samples` samples: (index of the first image, x_0 (B, *)) of each block.

    Block b holds the images from b * block_size on (the last block may be smaller). Rank b mod world size draws it by
    `GenerativeModule.draw`, from a generator seeded by (seed, b); torch's global generators are not touched.
    sampler: by default the module's. advance: called with the number of images of all ranks for which a share of the
        work has been done; on the first rank these amounts add up to num_samples.
    labels: of all samples, (num_samples,); by default `sample_labels`. draw: in place of the module's.
    """
    module, rank, ranks = generative_of(pl_module), trainer.global_rank, trainer.world_size
    labels = sample_labels(pl_module, num_samples) if labels is None else labels
    for block in range(rank, -(-num_samples // block_size), ranks):
        first, first_of_round = block * block_size, (block - rank) * block_size
        in_round = min(ranks * block_size, num_samples - first_of_round)
        shape = (min(block_size, num_samples - first), *data_of(trainer).image_shape)
        label = None if labels is None else labels[first : first + shape[0]]
        generator, share_done = module.sample_generator(block), partial(advance_by, advance, in_round)
        yield first, (draw or module.draw)(shape, generator, label, sampler, share_done)


def advance_by(advance: Callable[[float], None], amount: float, share: float) -> None:
    """Advances by a share of an amount."""
    advance(share * amount)


def gather_blocks(
    trainer: Trainer,
    blocks: Iterable[tuple[int, Tensor]],
    num_samples: int,
    block_size: int,
    convert: Callable[[Tensor], Tensor],
) -> Iterator[Tensor]:
    """All images of `sample_blocks` in order, converted, on the first rank: (B, *) on the CPU.

    blocks: those of this rank. convert: applied before gathering; maps each image independently, for example to levels.
    Every rank must exhaust the iterator, although only the first receives anything. One block of each rank is in memory
    at a time. Raises ConfigError on all ranks at once if samples are not finite.
    """
    ranks, shape = trainer.world_size, data_of(trainer).image_shape
    nothing = torch.empty(0, *shape, device=trainer.strategy.root_device)  # from a rank that has drawn all its blocks
    blocks = iter(blocks)
    for first in range(0, num_samples, ranks * block_size):
        _, x_0 = next(blocks, (first, nothing))
        count = min(ranks * block_size, num_samples - first)
        refuse_non_finite(int(trainer.strategy.all_gather(count_non_finite(x_0)).sum()), first + count)
        missing = block_size - len(x_0)
        block = pad(convert(x_0), (*[0, 0] * len(shape), 0, missing))  # collectives need equal shapes
        gathered = trainer.strategy.all_gather(block).reshape(-1, *shape)[:count]  # drops the padding
        if trainer.is_global_zero:
            yield gathered.cpu()


def describe_samples(
    trainer: Trainer, pl_module: LightningModule, sampler: Sampler | None, block_size: int
) -> dict[str, Any]:
    """Everything that determines samples, except the weights themselves: the protocol of scores and sample files."""
    module = generative_of(pl_module)
    return {
        **module.describe_samples(sampler),
        **({} if module.num_classes is None else {"labels": "all classes in turn"}),
        "weights": weights_in_use(trainer),
        "seed": module.seed,
        "block_size": block_size,
        "precision": str(trainer.precision),
    }
