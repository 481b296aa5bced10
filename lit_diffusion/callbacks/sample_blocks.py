"""Samples in numbered blocks shared among devices: the same images on any number of devices."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import pad

from lit_diffusion.callbacks.chain_walk import count_non_finite, refuse_non_finite, walk
from lit_diffusion.callbacks.class_labels import sample_labels
from lit_diffusion.callbacks.ema import weights_in_use
from lit_diffusion.callbacks.lookup import data_of, diffusion_of
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler


def sample_blocks(
    trainer: Trainer,
    pl_module: LightningModule,
    sampler: Sampler,
    num_samples: int,
    block_size: int,
    advance: Callable[[float], None],
    labels: Tensor | None = None,
    given: Callable[[Tensor | None], ReverseModel] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """This rank's share of exactly `num_samples` samples: (index of the first image, x_0 (B, *)) of each block.

    Block b holds the images from b * block_size on (the last block may be smaller). Rank b mod world size draws it as
    `Sampler.__call__` does, from a generator seeded by (seed, b); torch's global generators are not touched.
    advance: called after every step of a chain with the step's share of the images of all ranks; on the first rank
        these amounts add up to num_samples.
    labels: of all samples, (num_samples,); by default `sample_labels`. given: the model to draw from, given labels; by
        default the module's.
    """
    module, rank, ranks = diffusion_of(pl_module), trainer.global_rank, trainer.world_size
    reverse = module.reverse
    steps = len(sampler.subset(reverse.process.schedule))
    labels = sample_labels(pl_module, num_samples) if labels is None else labels
    for block in range(rank, -(-num_samples // block_size), ranks):
        first, first_of_round = block * block_size, (block - rank) * block_size
        images_per_step = min(ranks * block_size, num_samples - first_of_round) / steps
        generator = module.sample_generator(block)
        shape = (min(block_size, num_samples - first), *data_of(trainer).image_shape)
        x = reverse.process.prior(shape, reverse.device).sample(generator)
        model = (given or reverse.given)(None if labels is None else labels[first : first + len(x)])
        yield first, walk(sampler.chain(model, x, generator), advance, images_per_step).x_s


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


UNUSED = {"spacing": "uniform", "guidance_scale": 0.0}  # settings of samplers that a protocol names when they act


def describe_samples(trainer: Trainer, pl_module: LightningModule, sampler: Sampler, block_size: int) -> dict[str, Any]:
    """Everything that determines samples, except the weights themselves: the protocol of scores and sample files."""
    module = diffusion_of(pl_module)
    reverse = module.reverse
    return {
        "sampler": type(sampler).__name__,
        **{name: value for name, value in vars(sampler).items() if UNUSED.get(name) != value},
        "nfe": sampler.nfe(reverse.process.schedule),
        "T": reverse.num_steps,
        **reverse.protocol,
        **({} if reverse.num_classes is None else {"labels": "all classes in turn"}),
        "weights": weights_in_use(trainer),
        "seed": module.seed,
        "block_size": block_size,
        "precision": str(trainer.precision),
    }
