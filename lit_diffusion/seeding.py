"""Randomness is a function, not a state: every random draw derives from the run's seed and from its purpose."""

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^63) that is a fixed function of its parts, the same on every machine and in every process.

    `derive_seed(seed, "train", step, rank)` and `derive_seed(seed, "sample", block)` are independent streams: a hash
    keeps them apart where sums or products of small integers would collide.

    >>> derive_seed(0, "sample", 3)
    4791697873461279810
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def seed_step(seed: int, device: torch.device) -> None:
    """Seeds torch's global generators that a step on `device` draws from: the CPU's and the device's.

    torch.manual_seed seeds all devices; without CUDA it instead remembers every call, with its stack, for a later start
    of CUDA, which takes milliseconds and memory at every step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
