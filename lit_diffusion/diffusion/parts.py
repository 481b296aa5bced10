"""Networks applied to large batches part by part, where that is faster."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Of float32 images. A core's caches then hold feature maps of some tens or hundreds of channels.
PIXELS_PER_THREAD = 4096


def in_parts(network: nn.Module, x: Tensor, index: Tensor) -> Tensor:
    """network(x, index) for x (B, C, *) and index (B,); without gradients on a CPU, as many examples at a time as fit
    into its caches. Examples do not see each other, so the values are the same.
    """
    size = len(x)
    if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
        size = part_size(x.shape, x.device, x.dtype)
    if size >= len(x):
        output: Tensor = network(x, index)
        return output
    return torch.cat([network(part, steps) for part, steps in zip(x.split(size), index.split(size))])


def part_size(shape: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32) -> int:
    """How many of the examples of `shape` (B, C, *) a network should get at once; only the last part may be smaller."""
    if device.type != "cpu" or not math.prod(shape):
        return shape[0]
    used = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else dtype
    pixels = PIXELS_PER_THREAD * torch.get_num_threads() * torch.float32.itemsize // used.itemsize
    parts = -(-shape[0] * math.prod(shape[2:]) // pixels)
    return -(-shape[0] // parts)
