"""What the package does on a GPU: one command, a table last.

    python -m benchmarks.gpu [--only fit,sampling] [--budget 330]
    python -m benchmarks.gpu --device cpu --tiny      # the same code in miniature

ceilings: the card's matrix products and copies. fit: `lightning fit` on CIFAR10's network, by speed settings, with
launches a step, waits for the device and its busy share; bare: minimal loops with our network and with diffusers' for
comparison. sampling, bound, inception: images a second. agreement: losses, gradients, samples and bounds against the
CPU's. resume: a resumed run against an unbroken one, bit by bit. Parts for which no time is left are named. The
compiler works in a process of its own while agreement and resume run, so that later parts find its cache filled.
"""

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu import agreement, evaluation, training
from benchmarks.gpu.report import Report, float32, median_seconds


def measure_ceilings(report: Report) -> None:
    n, runs = (256, 1) if report.tiny else (8192, 10)
    a, b = torch.randn(2, n, n, device=report.device).unbind()
    kinds = {
        "bf16": (torch.bfloat16, "highest"),
        "TF32": (torch.float32, "high"),
        "float32": (torch.float32, "highest"),
    }
    for name, (dtype, matmul) in kinds.items():
        with float32(matmul=matmul):
            seconds = median_seconds(partial(torch.matmul, a.to(dtype), b.to(dtype)), 3, runs)
        rate = 2 * n**3 / seconds / 1e12
        if name == "bf16":
            report.peak = rate
        report.row("ceiling", f"matrix product {n}^3, {name}", f"{rate:.4g} TFLOP/s", tflops=rate)
    source = torch.randn(2**18 if report.tiny else 2**30, device=report.device)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), 2, runs)
    report.row("ceiling", "copy, bytes read and written", f"{8 * len(source) / seconds / 1e12:.3g} TB/s")


UNTIMED: dict[str, list[Callable[[Report], None]]] = {
    "agreement": [agreement.measure_losses, agreement.measure_precisions],
    "resume": [agreement.measure_resume],
}
TIMED: dict[str, list[Callable[[Report], None]]] = {
    "ceilings": [measure_ceilings],
    "fit": [training.measure_fits],
    "sampling": [evaluation.measure_sampling],
    "inception": [evaluation.measure_inception],
    "bound": [evaluation.measure_bound],
    "bare": [training.measure_bare],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="small networks and counts, to try the script itself")
    parser.add_argument("--budget", type=float, default=330.0, help="seconds after which parts are left out")
    parser.add_argument("--only", default="", help=f"some of {', '.join([*UNTIMED, *TIMED])}, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="file of all numbers (%(default)s)")
    parser.add_argument("--compile-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    only = options.only.split(",") if options.only else [*UNTIMED, *TIMED]
    if unknown := {*only} - {*UNTIMED, *TIMED}:
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; choose from {', '.join([*UNTIMED, *TIMED])}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device found; try the script with --device cpu --tiny")
    warnings.simplefilter("ignore")
    report = Report(options.device, options.tiny, options.budget)
    if options.compile_only:
        return training.fill_compiler_cache(report)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    report.row("machine", name, f"torch {torch.__version__}, Python {sys.version.split()[0]}")
    compiler = None
    if "fit" in only and not options.tiny:
        compiler = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu", "--compile-only", "--device", options.device]
        )
    run(report, UNTIMED, only)
    if compiler:
        compiler.wait()
    run(report, TIMED, only)
    report.write(options.out)


def run(report: Report, parts: dict[str, list[Callable[[Report], None]]], only: list[str]) -> None:
    for name, measures in parts.items():
        for measure in measures if name in only else ():
            if report.left < 15:
                report.row(name, "left out", "no time")
                continue
            with report.attempt(name, measure.__name__):
                measure(report)


if __name__ == "__main__":
    main()
