"""What the processor can do fast."""

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
BF16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")  # the last of ARM
SLOWDOWN, SLOWDOWN_WITHOUT_AVX512 = 2, 13  # of bf16-mixed without such units: docs/benchmarks.md, "On a CPU"


def instructions() -> set[str]:
    """Names of the processor's extensions, as Linux writes them; empty where they are not known."""
    if not CPU_INFO.exists():
        return set()
    for line in CPU_INFO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def bf16_units() -> str:
    """The extension that computes in bf16; empty if there is none, or none is known."""
    known = instructions()
    return next((name for name in BF16_UNITS if name in known), "")


def bf16_slowdown() -> int:
    """How many times as long as in float32 a training step takes in bf16-mixed; 1 with bf16 units, or where unknown."""
    known = instructions()
    if bf16_units() or not known:
        return 1
    return SLOWDOWN if "avx512f" in known else SLOWDOWN_WITHOUT_AVX512
