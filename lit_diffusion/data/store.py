"""Where images are stored and how batches reach the device."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

# of the device's free memory; the model, its gradients and its activations need the rest
SHARE_OF_FREE_MEMORY = 1 / 4


class ImageStore(Protocol):
    """Images of one split, of one shape and number of levels."""

    def __len__(self) -> int:
        """Number of images."""

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """The levels of the images in each (B,) int64 tensor of `indices`: (B, C, H, W) uint8, or int32 for more
        than 256 levels, on `device`.
        """

    def fingerprint(self) -> str:
        """A hash of the images, under which results computed from them are cached."""


class MemoryStore:
    """All examples as one tensor, also kept on the device if they fit into a quarter of its free memory.

    images: (N, *) on the CPU, uint8 or int32 levels or, for real-valued data, float32; labels: (N,) int64 or None.
    """

    def __init__(self, images: Tensor, labels: Tensor | None = None):
        self.images, self.labels = images, labels
        self._placed = images

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """One gather per batch, on the device if the images are kept there."""
        if self._placed.device != device and fits(self.images.nbytes, device):
            self._placed = self.images.to(device)
        for batch in indices:
            yield to_device(self._placed[to_device(batch, self._placed.device)], device)

    def fingerprint(self) -> str:
        """SHA-256 of shape and pixels."""
        content = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        content.update(self.images.contiguous().numpy().tobytes())
        return content.hexdigest()


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """x on `device`. Copies from the CPU to CUDA go through pinned memory and do not wait for the GPU."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def fits(num_bytes: int, device: torch.device) -> bool:
    """Whether `num_bytes` of images should be kept on the device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= free * SHARE_OF_FREE_MEMORY
