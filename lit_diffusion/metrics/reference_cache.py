"""The cache of statistics of real images, in the user's cache folder."""

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lit_diffusion.metrics.fidelity import Statistics
from lit_diffusion.runs.atomic_files import written_whole

VERSION = "1"  # of the files' content and its computation
TENSORS = ("mean", "covariance", "features")


def cache_folder() -> Path:
    """LIT_DIFFUSION_CACHE, or `lit_diffusion` in the user's cache folder (XDG_CACHE_HOME or ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("LIT_DIFFUSION_CACHE") or f"{base}/lit_diffusion").expanduser()


def cache_file(*parts: str) -> Path:
    """The file of one set of statistics. parts: keys of the images, the extractor, the protocol and the device."""
    digest = hashlib.sha256("\0".join((VERSION, *parts)).encode()).hexdigest()
    return cache_folder() / "references" / f"{digest[:32]}.safetensors"


def read_cached(path: Path) -> Statistics | None:
    """The statistics in a cache file; None if it is missing, damaged or of another kind."""
    try:
        with safe_open(path, "pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in TENSORS}
        statistics = Statistics(int(metadata["count"]), **tensors, logits=torch.zeros(0, 0))
        return statistics if metadata["sha256"] == digest_of(statistics) else None
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def write_cached(path: Path, statistics: Statistics) -> None:
    """Writes a cache file atomically; several processes may write the same one. Ignores a full disk."""
    metadata = {"count": str(statistics.count), "sha256": digest_of(statistics)}
    try:
        with written_whole(path) as temporary:
            save_file({name: getattr(statistics, name).contiguous() for name in TENSORS}, temporary, metadata)
    except (OSError, SafetensorError):
        pass  # the statistics are in memory; the cache only saves time


def digest_of(statistics: Statistics) -> str:
    """SHA-256 of statistics, by which a damaged file is detected."""
    digest = hashlib.sha256(str(statistics.count).encode())
    for name in TENSORS:
        tensor = getattr(statistics, name)
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
