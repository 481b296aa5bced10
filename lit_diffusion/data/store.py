"""Where images lie and how batches of them reach the device."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

# The model, its gradients and its activations need the rest.
SHARE_OF_FREE_MEMORY = 1 / 4


class ImageStore(Protocol):
    """Images of one split, of one shape and number of levels."""

    def __len__(self) -> int:
        """Number of images."""

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """For each (B,) int64 tensor of `indices` the levels of those images: (B, C, H, W) uint8 on `device`."""

    def fingerprint(self) -> str:
        """A hash of the images, by which what was computed from them is found again."""


class MemoryStore:
    """All examples as one tensor, kept on the device too where a quarter of its free memory holds them.

    images: (N, *) on the CPU, uint8 levels or, of real-valued data, float32; labels: (N,) int64 or None.
    """

    def __init__(self, images: Tensor, labels: Tensor | None = None):
        self.images, self.labels = images, labels
        self._placed = images

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """One gather a batch, on the device itself where the images lie there."""
        if self._placed.device != device and fits(self.images.nbytes, device):
            self._placed = self.images.to(device)
        for batch in indices:
            yield self._placed[batch.to(self._placed.device)].to(device)

    def fingerprint(self) -> str:
        """SHA-256 of shape and pixels."""
        content = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        content.update(self.images.contiguous().numpy().tobytes())
        return content.hexdigest()


def fits(num_bytes: int, device: torch.device) -> bool:
    """Whether that many bytes of images should be kept on the device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= free * SHARE_OF_FREE_MEMORY
