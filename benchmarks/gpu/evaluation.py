"""Sampling, bits/dim and Inception's features: images a second."""

import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.evaluation import bare_loop
from benchmarks.gpu.agreement import build_reverse, random_images
from benchmarks.gpu.report import SAMPLING_GFLOP, Report, float32, median_seconds, relative_error
from lit_diffusion.callbacks.speed import CompiledForward
from lit_diffusion.data.image_set import ImageSet
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.diffusion import AncestralSampler, DDIMSampler
from lit_diffusion.diffusion.bound_estimate import BoundSums, cut_strata
from lit_diffusion.metrics import InceptionFeatures, TorchFidelity
from lit_diffusion.metrics.reference_statistics import compute_statistics
from tests.metrics.made import write_inception


def measure_sampling(report: Report) -> None:
    ways = {"float32": (None, False), "bf16": (torch.bfloat16, False), "bf16, CUDA graphs": (torch.bfloat16, True)}
    for name, (dtype, graphs) in ways.items():
        with report.attempt("sampling", name), torch.no_grad(), autocast(report, dtype):
            measure_chains(report, name, graphs)


def measure_chains(report: Report, name: str, graphs: bool) -> None:
    """DDIM and ancestral chains, and the latter by a minimal loop. graphs: as `speed.compile: reduce-overhead`."""
    count, steps, runs = (2, 3, 1) if report.tiny else (500, 50, 2)
    reverse = build_reverse(report).eval().to(report.device)
    network, shape, generator = reverse.network, (count, 3, 32, 32), torch.Generator(report.device).manual_seed(0)
    if graphs and not report.tiny:
        network.forward = CompiledForward(network.forward, "reduce-overhead", {count})
    ddim, ancestral = DDIMSampler(steps=steps), AncestralSampler(steps)
    ours = median_seconds(lambda: ddim(reverse, shape, generator), 1, runs)
    chain = median_seconds(lambda: ancestral(reverse, shape, generator), 0, runs)
    subset = list(ancestral.subset(reverse.process.schedule))
    bare = median_seconds(lambda: bare_loop(network, shape, subset, generator), 0, runs)
    share = report.share_of_peak(SAMPLING_GFLOP * count * steps / ours)
    report.row(
        "sampling",
        f"{name}, {count} at once, {steps} DDIM steps",
        f"{count / ours:.1f} images/s, {100 * share:.1f}% of the bf16 peak",
        images_per_second=count / ours,
    )
    rate = count / chain * steps / 1000
    what = f"{name}, ancestral, extrapolated from {steps} to 1000"
    text = f"{rate:.2f} images/s; ours / bare loop {chain / bare:.3f}"
    report.row("sampling", what, text, images_per_second=rate, ratio=chain / bare)


def autocast(report: Report, dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast(report.device, dtype or torch.bfloat16, enabled=dtype is not None)


def measure_bound(report: Report) -> None:
    for name, dtype in (("float32", None), ("bf16", torch.bfloat16)):
        with report.attempt("bits/dim", name), autocast(report, dtype):
            measure_terms(report, name, 20)


def measure_terms(report: Report, name: str, terms: int) -> None:
    reverse = build_reverse(report).eval().to(report.device)
    images = random_images(1 if report.tiny else 25).to(report.device)
    sums = BoundSums(cut_strata(reverse.process.schedule, terms), len(images), torch.device(report.device))
    generator, pairs = torch.Generator(report.device).manual_seed(0), range(terms * len(images))
    seconds = median_seconds(lambda: sums.add(reverse, images, pairs, generator), 1, 1 if report.tiny else 5)
    rate = len(images) / seconds
    report.row("bits/dim", f"{name}, {terms} terms an image", f"{rate:.0f} images/s", images_per_second=rate)


def measure_inception(report: Report) -> None:
    count = 2 if report.tiny else 2000
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images, few = (ImageSet("random", MemoryStore(p), (3, 32, 32)) for p in (pixels, pixels[:8]))
    with tempfile.TemporaryDirectory() as folder:
        extractor = InceptionFeatures(str(write_inception(Path(folder))))
        extractor.load()
    reference = compute_statistics(few, extractor, TorchFidelity())
    device = torch.device(report.device)
    extractor.to(device)
    for name, convolutions in (("PyTorch's defaults", True), ("no TF32", False)):
        with report.attempt("Inception", name), float32(convolutions):
            there = compute_statistics(few, extractor, TorchFidelity(), device=device)
            error, warm = relative_error(there.features, reference.features), 0 if report.tiny else 1
            work = partial(compute_statistics, images, extractor, TorchFidelity(), device=device)
            seconds = median_seconds(work, warm, 1)
            what = f"{name}, {extractor.batch_size} at once"
            text = f"{count / seconds:,.0f} images/s: 50,000 in {50_000 * seconds / count:.0f} s"
            report.row("Inception", what, f"{text}; features {error:.1e} off", error=error)
