"""What torch can compute on. Whatever is broken is said, and nothing here raises."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from lit_diffusion.doctor.finding import GB, Finding, ok, pip, problem, warning
from lit_diffusion.errors import first_words

DRIVER = Path("/proc/driver/nvidia/version")
INSTALL = "install torch for this driver, or a newer driver: https://pytorch.org/get-started/locally"


def examine() -> Iterator[Finding]:
    """GPUs, MPS, NCCL, one line each; nothing where torch is missing, which is said elsewhere."""
    if find_spec("torch") is None:
        return
    try:
        import torch
    except Exception as error:  # a library that is missing, or built for another machine
        again = pip("install", "--force-reinstall", "torch")
        yield problem("torch", f"cannot be imported ({first_words(error)})", again)
        return
    gpus = list(cuda(torch))
    yield from gpus
    yield mps(torch)
    yield nccl(torch, len(gpus))


def cuda(torch: ModuleType) -> Iterator[Finding]:
    """A line a GPU, or one line that says why there is none."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        yield none(torch, [str(one.message) for one in said])
    for index in range(count):
        yield gpu(torch, index)


def gpu(torch: ModuleType, index: int) -> Finding:
    """One GPU that torch sees: a number is computed on it, for drivers and builds that do not fit show only then."""
    subject, built = f"GPU {index}", toolkit(torch)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            properties = torch.cuda.get_device_properties(index)
            torch.ones(2, device=f"cuda:{index}").sum().item()
            free, total = torch.cuda.mem_get_info(index)
    except Exception as error:  # drivers raise what they like
        return warning(subject, f"does not compute ({first_words(error)}); torch has {built}", INSTALL)
    facts = {"name": properties.name, "bytes": total, "free_bytes": free, "driver": driver(), "toolkit": built}
    memory = f"{total / GB:.0f} GB, {free / GB:.0f} GB free"
    return ok(subject, f"{properties.name}, {memory}, driver {facts['driver'] or 'unknown'}, torch's {built}", **facts)


def none(torch: ModuleType, said: list[str]) -> Finding:
    """Why torch sees no GPU: there is none, it is hidden, torch is built without, or the driver does not fit."""
    version, hidden = driver(), os.environ.get("CUDA_VISIBLE_DEVICES")
    facts = {"driver": version, "toolkit": toolkit(torch)}
    if hidden is not None and hidden.strip() in ("", "-1"):
        return ok("GPU", f"hidden by CUDA_VISIBLE_DEVICES={hidden}", **facts)
    if facts["toolkit"] is None and version:
        text = f"driver {version} is here, but torch {torch.__version__} is built for CPUs"
        return warning("GPU", text, "install torch for CUDA: https://pytorch.org/get-started/locally", **facts)
    if facts["toolkit"] is None:
        return ok("GPU", f"none; torch {torch.__version__} is built for CPUs", **facts)
    if version or any("driver" in text and "too old" in text for text in said):
        reason = " ".join(said[0].split())[:160] if said else "torch gives no reason"
        text = f"driver {version or 'unknown'} and torch's {facts['toolkit']} do not work together ({reason})"
        return warning("GPU", text, INSTALL, **facts)
    return ok("GPU", f"none; torch has {facts['toolkit']}", **facts)


def mps(torch: ModuleType) -> Finding:
    """Apple's GPU."""
    available = torch.backends.mps.is_available()
    absent = "none" if sys.platform == "darwin" else "none: macOS only"
    return ok("MPS", "available" if available else absent, available=available)


def nccl(torch: ModuleType, gpus: int) -> Finding:
    """What several GPUs talk by."""
    present = torch.distributed.is_available() and torch.distributed.is_nccl_available()
    if not present and gpus > 1:
        return warning("NCCL", f"none in this torch, for {gpus} GPUs", INSTALL, present=False)
    if not present:
        return ok("NCCL", "none; only runs on several GPUs need it", present=False)
    version = ".".join(map(str, torch.cuda.nccl.version()))
    return ok("NCCL", version, present=True, version=version)


def toolkit(torch: ModuleType) -> str | None:
    """What torch is built with, `CUDA 12.8` or `ROCm 6.4`; None of a build for CPUs."""
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    return f"ROCm {torch.version.hip}" if torch.version.hip else None


def driver() -> str | None:
    """The version of NVIDIA's driver, as its kernel module or nvidia-smi tells."""
    if DRIVER.is_file() and (match := re.search(r"\s(\d{3,}\.\d[\d.]*)\s", DRIVER.read_text())):
        return match[1]
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"\d+\.[\d.]+", answer.stdout)
    return match[0] if match else None
