"""Statistics of real images, with which samples are compared."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from lit_diffusion.data.image_set import ImageSet
from lit_diffusion.metrics.features import FeatureExtractor
from lit_diffusion.metrics.fidelity import Fidelity, Statistics
from lit_diffusion.metrics.protocol import Protocol
from lit_diffusion.metrics.reference_cache import cache_file, read_cached, write_cached

Bar = Callable[[int], AbstractContextManager[Callable[..., None]]]


def compute_statistics(
    images: ImageSet,
    extractor: FeatureExtractor,
    protocol: Protocol,
    batch_size: int | None = None,
    device: torch.device | None = None,
    keep_logits: bool = False,
    ranks: tuple[int, int] = (0, 1),
    bar: Bar = lambda total: nullcontext(lambda amount: None),
) -> Statistics:
    """Statistics of all images, each seen once by one rank, in batches that do not depend on the number of ranks.

    batch_size: by default the extractor's. ranks: this process's rank and the number of processes. bar: makes a
    progress bar for a number of images.
    """
    device = device or torch.device("cpu")
    metric = Fidelity(extractor, protocol, images.shape, len(images), keep_logits=keep_logits).to(device)
    rank, world_size = ranks
    numbers = [*torch.arange(len(images)).split(batch_size or extractor.batch_size)]
    with bar(len(images)) as advance:
        for i, x in zip(range(rank, len(numbers), world_size), images.batches(numbers[rank::world_size], device)):
            metric.update(x, numbers[i])
            advance(sum(map(len, numbers[i - rank : i - rank + world_size])))
    return metric.statistics()


def reference_statistics(
    images: ImageSet,
    extractor: FeatureExtractor,
    protocol: Protocol,
    broadcast: Callable[[Any], Any] = lambda value: value,
    ranks: tuple[int, int] = (0, 1),
    **settings: Any,
) -> Statistics | None:
    """Like `compute_statistics`, but read from the cache if possible, in which case only the first rank receives them.

    Returns None on the other ranks then. broadcast: gives the first rank's value to all. settings: further arguments of
    `compute_statistics`.
    """
    extractor.load()
    first = ranks[0] == 0
    device = str(settings.get("device") or "cpu").partition(":")[0]  # CPUs and GPUs round differently
    path = cache_file(images.fingerprint, extractor.key, protocol.key, device) if first else None
    cached = read_cached(path) if path else None
    if broadcast(cached is not None):
        return cached
    statistics = compute_statistics(images, extractor, protocol, ranks=ranks, **settings)
    if path:
        write_cached(path, statistics)
    return statistics
