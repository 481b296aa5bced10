"""Randomness as a function of what it is for."""

import hashlib

import numpy as np
import pytest
import torch

from lit_diffusion.seeding import derive_seed, seed_generator, seed_step


def test_a_seed_is_the_same_everywhere_and_another_for_every_purpose():
    """A pinned value, and no collision among neighbouring steps, ranks and seeds."""
    assert derive_seed(0, "train", 1, 0) == 7095099507901934836
    seeds = {derive_seed(seed, "train", step, rank) for seed in range(5) for step in range(100) for rank in range(4)}
    assert len(seeds) == 2000 and all(0 <= seed < 2**63 for seed in seeds)


def test_a_step_draws_what_its_seed_says_and_leaves_nothing_behind():
    """The same numbers again, and no call remembered for devices that are not there."""
    seed_step(7, torch.device("cpu"))
    first, remembered = torch.randn(3), len(torch.cuda._queued_calls)
    for _ in range(3):
        seed_step(7, torch.device("cpu"))
    assert torch.equal(torch.randn(3), first)
    assert len(torch.cuda._queued_calls) == remembered


def test_a_cpu_generator_is_numpy_s_mersenne_twister_started_at_a_hash_of_the_whole_seed():
    """Word by word over three generations of its state, and reported as that seed's; no draw is left from before."""
    seed = derive_seed(0, "train", 1, 0)
    generator = torch.Generator().manual_seed(1)
    torch.randn(1, generator=generator)  # keeps the second of a pair of normal numbers
    assert seed_generator(generator, seed).initial_seed() == seed
    words = np.frombuffer(hashlib.shake_128(seed.to_bytes(8, "big")).digest(2496), dtype="<u4")
    reference = np.random.RandomState()
    reference.set_state(("MT19937", words, 624))
    drawn = torch.randint(2**16, (2000,), generator=generator).numpy()
    np.testing.assert_array_equal(drawn, reference.randint(2**32, size=2000, dtype=np.uint32) % 2**16)
    first, again = (torch.randn(3, generator=seed_generator(generator, seed)) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    "pair",
    [
        [derive_seed(0, "train", step, 0) for step in (49764, 57341)],  # equal in their lower 32 bits
        [5, 5 + 2**32],
        [0, 2**62],
    ],
    ids=["two steps of a run", "upper half", "highest bit"],
)
def test_seeds_that_agree_in_32_bits_are_different_streams(pair):
    """On the CPU as for a step: t and noise of one have nothing of the other's."""
    assert len({seed % 2**32 for seed in pair}) == 1
    drawn = []
    for seed in pair:
        seed_step(seed, torch.device("cpu"))
        drawn.append(torch.randint(1, 1001, (1000,)))
    assert (drawn[0] == drawn[1]).sum() < 10


def test_streams_of_neighbouring_steps_are_independent_and_normal():
    """Mean, variance and correlation of the first 64 normal numbers of 2,000 steps, within 4.5 standard errors."""
    x = torch.empty(2000, 64, dtype=torch.float64)
    for step in range(len(x)):
        seed_step(derive_seed(0, "train", step, 0), torch.device("cpu"))
        x[step] = torch.randn(64, dtype=torch.float64)
    n = x.numel()
    assert abs(x.mean()) < 4.5 / n**0.5 and abs(x.square().mean() - 1) < 4.5 * (2 / n) ** 0.5
    assert abs((x[1:] * x[:-1]).mean()) < 4.5 / n**0.5
    assert x.mean(0).abs().max() < 4.5 / len(x) ** 0.5
