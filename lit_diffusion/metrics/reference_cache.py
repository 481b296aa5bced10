"""Statistics of real images: computed once, cached in the user's cache folder, rebuilt where the cache is damaged."""

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lit_diffusion.metrics.fidelity import Statistics
from lit_diffusion.runs.atomic_files import written_whole

VERSION = "1"  # of what a file holds and of how it is computed
TENSORS = ("mean", "covariance", "features")


def cache_folder() -> Path:
    """LIT_DIFFUSION_CACHE, or lit_diffusion in the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    own = os.environ.get("LIT_DIFFUSION_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(own).expanduser() if own else base / "lit_diffusion"


def cache_file(*parts: str) -> Path:
    """The file of the statistics of images and an extractor and a protocol, each identified by a string."""
    digest = hashlib.sha256("\0".join((VERSION, *parts)).encode()).hexdigest()
    return cache_folder() / "references" / f"{digest[:32]}.safetensors"


def read_cached(path: Path) -> Statistics | None:
    """The statistics in a cache file; None where it is missing, damaged, or not ours."""
    try:
        with safe_open(path, "pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in TENSORS}
        statistics = Statistics(int(metadata["count"]), **tensors, logits=torch.zeros(0, 0))
        return statistics if metadata["sha256"] == digest_of(statistics) else None
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def write_cached(path: Path, statistics: Statistics) -> None:
    """Writes a cache file, whole or not at all; several processes may write the same one."""
    metadata = {"count": str(statistics.count), "sha256": digest_of(statistics)}
    try:
        with written_whole(path) as temporary:
            save_file({name: getattr(statistics, name).contiguous() for name in TENSORS}, temporary, metadata)
    except (OSError, SafetensorError):
        pass  # a cache that cannot be written is no cache; the statistics are there


def digest_of(statistics: Statistics) -> str:
    """SHA-256 of what a file holds."""
    digest = hashlib.sha256(str(statistics.count).encode())
    for name in TENSORS:
        tensor = getattr(statistics, name)
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
