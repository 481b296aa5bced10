"""Randomness as a function of what it is for."""

import torch

from lit_diffusion.seeding import derive_seed, seed_step


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
