"""Samples are the same on any number of devices, exactly as many as asked for, and disturb nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lit_diffusion.callbacks.sample_blocks import gather_blocks, sample_blocks
from lit_diffusion.diffusion import AncestralSampler, GaussianProcess, GaussianReverse, LinearSchedule, Simple
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.pixels import to_levels

SHAPE = (1, 2, 2)
SAMPLER = AncestralSampler(3)
LEVELS = partial(to_levels, num_levels=256)


class Network(nn.Module):
    """Predicts a noise that depends on the image."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, index):
        return self.gain * x.tanh()


@pytest.fixture
def module():
    reverse = GaussianReverse(GaussianProcess(LinearSchedule(5, 0.1, 0.5)), Network, channels=1, clip_x_0=False)
    return DiffusionModule(reverse, Simple(), SAMPLER).eval()


def trainers(ranks):
    """What each of several processes has for a trainer; `all_gather` waits for all of them."""
    sent, barrier = [None] * ranks, threading.Barrier(ranks, timeout=20)

    def all_gather(rank, tensor):
        sent[rank] = tensor
        barrier.wait()
        received = torch.stack(sent)
        barrier.wait()
        return received

    return [
        SimpleNamespace(
            global_rank=rank,
            world_size=ranks,
            is_global_zero=rank == 0,
            datamodule=SimpleNamespace(image_shape=SHAPE),
            strategy=SimpleNamespace(
                root_device=torch.device("cpu"), all_gather=lambda tensor, rank=rank: all_gather(rank, tensor)
            ),
        )
        for rank in range(ranks)
    ]


def on_all_ranks(ranks, work):
    """What work(trainer) returns or raises on each of the ranks, which run at the same time."""
    with ThreadPoolExecutor(ranks) as pool:
        futures = [pool.submit(work, trainer) for trainer in trainers(ranks)]
        return [future.exception() or future.result() for future in futures]


def nothing(amount):
    pass


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_any_number_of_devices_draws_the_same_1003_samples(ranks, module):
    """Block b is what the sampler draws from the generator of (seed, b); the last of 16 blocks holds 43 images."""
    blocks = [b for trainer in trainers(ranks) for b in sample_blocks(trainer, module, SAMPLER, 1003, 64, nothing)]
    assert sorted(first for first, _ in blocks) == list(range(0, 1003, 64))
    for first, x_0 in blocks:
        expected = SAMPLER(module.reverse, (min(64, 1003 - first), *SHAPE), module.sample_generator(first // 64))
        assert torch.equal(x_0, expected)
    assert sum(len(x_0) for _, x_0 in blocks) == 1003
    assert len(torch.cat([x_0 for _, x_0 in blocks]).flatten(1).unique(dim=0)) == 1003  # no block is drawn twice


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 64, 300])
def test_the_first_device_gathers_all_samples_in_order(ranks, count, module):
    """As levels of 8 bits, also where blocks of the last round are short or missing; the others gather nothing."""

    def work(trainer):
        own = sample_blocks(trainer, module, SAMPLER, count, 64, nothing)
        return list(gather_blocks(trainer, own, count, 64, LEVELS))

    first, *others = on_all_ranks(ranks, work)
    expected = torch.cat([x for _, x in sample_blocks(trainers(1)[0], module, SAMPLER, count, 64, nothing)])
    assert torch.equal(torch.cat(first), LEVELS(expected))
    assert all(len(images) <= ranks * 64 for images in first)  # a round is all that is in memory
    assert others == [[]] * (ranks - 1)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_all_devices_refuse_a_sample_that_is_not_finite_at_the_same_time(ranks):
    """One pixel of image 70, which is in the second block: none is left waiting for the others."""

    def work(trainer):
        blocks = [(first, torch.zeros(min(64, 150 - first), *SHAPE)) for first in (0, 64, 128)]
        blocks[1][1][6, 0, 1, 1] = float("nan")
        return list(gather_blocks(trainer, blocks[trainer.global_rank :: ranks], 150, 64, LEVELS))

    drawn = {1: 128, 2: 128, 3: 150}[ranks]
    for error in on_all_ranks(ranks, work):
        assert isinstance(error, ConfigError)
        assert str(error).startswith(f"the model has diverged: 1 of {drawn} samples are not finite; use")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_first_devices_bar_ends_at_the_number_of_samples(ranks, module):
    """It moves at every step of its chains, also where the others draw the last blocks."""
    amounts = []
    list(sample_blocks(trainers(ranks)[0], module, SAMPLER, 150, 64, amounts.append))
    assert sum(amounts) == pytest.approx(150)
    assert len(amounts) == 3 * len(range(0, 3, ranks))


def test_global_random_generators_stay_as_they_are(module):
    before = torch.get_rng_state()
    list(sample_blocks(trainers(1)[0], module, SAMPLER, 10, 4, nothing))
    assert torch.equal(torch.get_rng_state(), before)
