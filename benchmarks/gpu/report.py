"""Rows of a table that appear at once and again at the end, and timing on a device."""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.clock import now

TRAINING_GFLOP = 37.5  # of CIFAR10's network, forward and backward, an image (docs/benchmarks.md)
SAMPLING_GFLOP = 12.4  # forward


@dataclass
class Report:
    """The measurements of one run. device: cuda or cpu. tiny: small networks, to try the script."""

    device: str
    tiny: bool
    budget: float
    begin: float = field(default_factory=time.monotonic)
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    peak: float = float("nan")  # TFLOP/s of a bf16 matrix product

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - (time.monotonic() - self.begin)

    def row(self, part: str, what: str, value: str, **numbers: Any) -> None:
        self.rows.append((part, what, value))
        self.numbers[f"{part}: {what}"] = numbers or value
        print(f"[{time.monotonic() - self.begin:6.1f} s] {part:<10} {what:<50} {value}", flush=True)

    @contextmanager
    def attempt(self, part: str, what: str) -> Iterator[None]:
        """A measurement that fails is a row, and the others go on."""
        try:
            yield
        except Exception as error:
            self.row(part, what, f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[:150]}")
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def share_of_peak(self, gflops: float) -> float:
        """Of the card's bf16 matrix products, if `ceilings` has measured them; NaN for small networks."""
        return float("nan") if self.tiny else gflops / 1e3 / self.peak

    def training_rate(self, part: str, what: str, batch: int, seconds: float, note: str = "") -> None:
        rate = batch / seconds
        share = self.share_of_peak(TRAINING_GFLOP * rate)
        self.row(
            part,
            what,
            f"{1e3 * seconds:.1f} ms, {rate:,.0f} images/s, {100 * share:.1f}% of the bf16 peak{note}",
            ms=1e3 * seconds,
            images_per_second=rate,
            share=share,
        )

    def write(self, path: Path) -> None:
        """The table, as Markdown, to the terminal; all numbers to a JSON file."""
        path.write_text(json.dumps(self.numbers, indent=1, default=str))
        print("\n| part | measured | result |\n|---|---|---|")
        for part, what, value in self.rows:
            print(f"| {part} | {what} | {value} |")


def median_seconds(work: Callable[[], Any], warm: int, runs: int) -> float:
    """The median of several runs, each waited for."""
    spent = []
    for _ in range(warm + runs):
        begin = now()
        work()
        spent.append(now() - begin)
    return statistics.median(spent[warm:])


@contextmanager
def float32(convolutions: bool = True, matmul: str = "highest") -> Iterator[None]:
    """Where TF32 may replace float32: in convolutions (PyTorch's default), in matrix products."""
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(matmul)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    """In the 2-norm; infinite where the value is not finite."""
    value, reference = value.detach().double().cpu(), reference.detach().double().cpu()
    return float((value - reference).norm() / reference.norm()) if value.isfinite().all() else float("inf")
