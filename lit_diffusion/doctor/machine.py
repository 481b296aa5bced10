"""Processor and memory: what this process may use of them, which on a cluster is less than there is."""

import os
from collections.abc import Iterator
from pathlib import Path

from lit_diffusion.doctor.finding import GB, Finding, ok, warning
from lit_diffusion.memory import machine_memory, usable_memory

AVAILABLE = Path("/proc/meminfo")


def examine() -> Iterator[Finding]:
    """One line each."""
    yield processor()
    yield memory()


def processor() -> Finding:
    """Cores, and the threads that OMP_NUM_THREADS allows."""
    there = os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    threads = os.environ.get("OMP_NUM_THREADS", "")
    text = f"{cores} cores" if cores == there else f"{cores} of {there} cores"
    text += f", OMP_NUM_THREADS={threads}" if threads else ", OMP_NUM_THREADS not set: one thread a core"
    facts = {"cores": cores, "omp_num_threads": threads or None}
    if threads.isdecimal() and int(threads) > cores:
        return warning(
            "CPU", text, f"export OMP_NUM_THREADS={cores}: more threads than cores wait for each other", **facts
        )
    return ok("CPU", text, **facts)


def memory() -> Finding:
    """What there is, or what the control group of a job or container allows."""
    total, allowed = machine_memory(), usable_memory()
    text = f"{allowed / GB:.1f} GB" + (f" of {total / GB:.1f} GB" if allowed < total else "")
    facts = {"bytes": allowed}
    if AVAILABLE.exists():
        lines = dict(line.split(":", 1) for line in AVAILABLE.read_text().splitlines())
        facts["available_bytes"] = int(lines["MemAvailable"].split()[0]) * 1024
        text += f", {facts['available_bytes'] / GB:.1f} GB available on the machine"
    return ok("memory", text, **facts)
