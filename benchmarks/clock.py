"""A clock for work on any device."""

import time

import torch


def now() -> float:
    """Seconds on a monotonic clock, read after the GPU, if there is one, has finished all work submitted to it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
