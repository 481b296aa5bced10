"""The hardware: processor, memory, GPUs and disks, as far as this process may use them."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from lit_diffusion.doctor.finding import GB, PROBLEM, Finding, from_error, ok, pip_command, problem, warning
from lit_diffusion.errors import first_words
from lit_diffusion.memory import machine_memory, usable_memory
from lit_diffusion.runs.processor import bf16_slowdown, bf16_units
from lit_diffusion.runs.run_folder import folder_error

MEMORY_INFO = Path("/proc/meminfo")
DRIVER = Path("/proc/driver/nvidia/version")
INSTALL = "install a torch for this driver, or a newer driver: https://pytorch.org/get-started/locally"
LEAST_SPACE = 1 * GB  # free bytes below which a run is at risk


def examine_machine() -> Iterator[Finding]:
    """Findings on the processor and on the memory."""
    yield check_processor()
    yield check_bf16()
    yield check_memory()


def check_processor() -> Finding:
    """Cores, and the threads that OMP_NUM_THREADS allows."""
    present = os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
    threads = os.environ.get("OMP_NUM_THREADS", "")
    text = f"{cores} cores" if cores == present else f"{cores} of {present} cores"
    text += f", OMP_NUM_THREADS={threads}" if threads else ", OMP_NUM_THREADS not set: one thread per core"
    facts = {"cores": cores, "omp_num_threads": threads or None}
    if threads.isdecimal() and int(threads) > cores:
        repair = f"export OMP_NUM_THREADS={cores}: threads beyond the number of cores only wait for each other"
        return warning("CPU", text, repair, **facts)
    return ok("CPU", text, **facts)


def check_bf16() -> Finding:
    """Whether the processor computes fast in bf16, half of float32's bits."""
    units, times = bf16_units(), bf16_slowdown()
    if units:
        text = f"{units}: -c configs/speed/cpu.yaml makes runs on this processor faster"
    elif times > 1:
        text = f"no units in the processor: --trainer.precision=bf16-mixed takes {times} times as long as 32-true"
    else:
        text = "not known whether the processor has units for it"
    return ok("bf16", text, units=units or None)


def check_memory() -> Finding:
    """The machine's memory, or the limit of the container or job."""
    total, allowed = machine_memory(), usable_memory()
    text = f"{allowed / GB:.1f} GB" + (f" of {total / GB:.1f} GB" if allowed < total else "")
    facts = {"bytes": allowed}
    if MEMORY_INFO.exists():
        lines = dict(line.split(":", 1) for line in MEMORY_INFO.read_text().splitlines())
        facts["available_bytes"] = int(lines["MemAvailable"].split()[0]) * 1024
        text += f", {facts['available_bytes'] / GB:.1f} GB available on the machine"
    return ok("memory", text, **facts)


def examine_devices() -> Iterator[Finding]:
    """GPUs, MPS and NCCL. Yields nothing if torch is missing, which `examine_packages` reports."""
    if find_spec("torch") is None:
        return
    try:
        import torch
    except Exception as error:  # a shared library is missing, or built for another machine
        repair = pip_command("install", "--force-reinstall", "torch")
        yield problem("torch", f"cannot be imported ({first_words(error)})", repair)
        return
    gpus = list(check_cuda(torch))
    yield from gpus
    yield check_mps(torch)
    yield check_nccl(torch, len(gpus))


def check_cuda(torch: ModuleType) -> Iterator[Finding]:
    """One finding per GPU, or one that says why there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        yield explain_no_gpu(torch, [str(one.message) for one in caught])
    for index in range(count):
        yield check_gpu(torch, index)


def check_gpu(torch: ModuleType, index: int) -> Finding:
    """A GPU that torch lists. Computes on it, because incompatible drivers and builds fail only then."""
    subject, built = f"GPU {index}", find_toolkit(torch)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            properties = torch.cuda.get_device_properties(index)
            torch.ones(2, device=f"cuda:{index}").sum().item()
            free, total = torch.cuda.mem_get_info(index)
    except Exception as error:  # drivers raise various types
        return warning(subject, f"cannot compute ({first_words(error)}); torch is built with {built}", INSTALL)
    facts = {"name": properties.name, "bytes": total, "free_bytes": free, "driver": find_driver(), "toolkit": built}
    memory = f"{total / GB:.0f} GB, {free / GB:.0f} GB free"
    return ok(subject, f"{properties.name}, {memory}, driver {facts['driver'] or 'unknown'}, torch's {built}", **facts)


def explain_no_gpu(torch: ModuleType, messages: list[str]) -> Finding:
    """Why torch finds no GPU: none present, hidden, a torch built for CPUs, or an incompatible driver.

    messages: torch's warnings.
    """
    version, hidden = find_driver(), os.environ.get("CUDA_VISIBLE_DEVICES")
    facts = {"driver": version, "toolkit": find_toolkit(torch)}
    if hidden is not None and hidden.strip() in ("", "-1"):
        return ok("GPU", f"hidden by CUDA_VISIBLE_DEVICES={hidden}", **facts)
    if facts["toolkit"] is None and version:
        text = f"driver {version} is installed, but torch {torch.__version__} is built for CPUs"
        return warning("GPU", text, "install torch for CUDA: https://pytorch.org/get-started/locally", **facts)
    if facts["toolkit"] is None:
        return ok("GPU", f"none; torch {torch.__version__} is built for CPUs", **facts)
    if version or any("driver" in text and "too old" in text for text in messages):
        reason = " ".join(messages[0].split())[:160] if messages else "torch gives no reason"
        text = f"driver {version or 'unknown'} and torch's {facts['toolkit']} do not work together ({reason})"
        return warning("GPU", text, INSTALL, **facts)
    return ok("GPU", f"none; torch is built with {facts['toolkit']}", **facts)


def check_mps(torch: ModuleType) -> Finding:
    """Apple's GPU."""
    available = torch.backends.mps.is_available()
    absent = "none" if sys.platform == "darwin" else "none: macOS only"
    return ok("MPS", "available" if available else absent, available=available)


def check_nccl(torch: ModuleType, gpus: int) -> Finding:
    """The library by which several GPUs communicate."""
    present = torch.distributed.is_available() and torch.distributed.is_nccl_available()
    if not present and gpus > 1:
        return warning("NCCL", f"not part of this torch, but there are {gpus} GPUs", INSTALL, present=False)
    if not present:
        return ok("NCCL", "none; only runs on several GPUs need it", present=False)
    version = ".".join(map(str, torch.cuda.nccl.version()))
    return ok("NCCL", version, present=True, version=version)


def find_toolkit(torch: ModuleType) -> str | None:
    """What torch is built with, such as `CUDA 12.8` or `ROCm 6.4`; None for a CPU build."""
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    return f"ROCm {torch.version.hip}" if torch.version.hip else None


def find_driver() -> str | None:
    """The version of NVIDIA's driver, according to its kernel module or nvidia-smi."""
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


def examine_folders(run_dir: Path) -> Iterator[Finding]:
    """The folders of runs, data and temporary files. Leaves nothing behind in them."""
    yield check_writable("runs", run_dir)
    yield check_space("data", Path("data"), "choose another folder with --data.root")
    try:
        yield check_space("temporary", Path(tempfile.gettempdir()), "set TMPDIR to another folder")
    except FileNotFoundError as error:
        yield problem("temporary", f"no folder is writable ({error.strerror})", "set TMPDIR to one that is")


def check_writable(subject: str, folder: Path) -> Finding:
    """A problem if a run could not create its folder and write to it."""
    try:
        with tempfile.TemporaryFile(dir=nearest_existing(folder)) as file:
            file.write(bytes(2**16))
            file.flush()
    except OSError as error:
        return from_error(subject, PROBLEM, folder_error(error, folder.absolute()), path=str(folder.absolute()))
    return check_space(subject, folder, "choose another folder with --run.dir", note=", writable")


def check_space(subject: str, folder: Path, alternative: str, note: str = "") -> Finding:
    """The free space for a folder, which need not exist. alternative: how the user can choose another folder."""
    free = shutil.disk_usage(nearest_existing(folder)).free
    text = f"{folder.absolute()}{note}, {free / GB:,.1f} GB free"
    facts: dict[str, Any] = {"path": str(folder.absolute()), "free_bytes": free}
    if free < LEAST_SPACE:
        return warning(subject, text, f"free some space, or {alternative}", **facts)
    return ok(subject, text, **facts)


def nearest_existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    folder = folder.expanduser().absolute()
    return next(one for one in (folder, *folder.parents) if os.path.exists(one))  # False without permission
