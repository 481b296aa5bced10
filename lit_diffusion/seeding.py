"""Randomness is a function, not a state: every random draw derives from the run's seed and from what it is for."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^63) that is a fixed function of its parts, the same on every machine and in every process.

    `derive_seed(seed, "train", step, rank)` and `derive_seed(seed, "sample", block)` are independent streams: a hash
    keeps them apart where sums or products of small integers would collide.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
