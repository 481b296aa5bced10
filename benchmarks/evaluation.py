"""The cost of an evaluation: scores against torch-fidelity, and samples against a bare loop, in turn in one process.

    python -m benchmarks.evaluation [scores] [digits] [cifar10]

scores: FID, IS and KID of two folders of PNG files, from reading the weights to the numbers, by our code and by
torch_fidelity.calculate_metrics, each with its defaults, on the CPU. Both use the same file of random weights, and
their scores must agree to 1e-4. digits, cifar10: one block of samples of the configuration's network, drawn by
`sample_blocks` and by a minimal loop, on the trainer's device; both draw the same noise, and their images must agree.
The two alternate; each pair gives one ratio, and the median of the ratios is printed with its quartiles. CIFAR10's
network draws 4 images in 4 steps: fewer images make overhead look larger.
"""

import argparse
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_fidelity
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.clock import now
from lit_diffusion.callbacks.lookup import data_of, diffusion_of
from lit_diffusion.callbacks.sample_blocks import sample_blocks
from lit_diffusion.data.image_set import open_images
from lit_diffusion.diffusion import AncestralSampler
from lit_diffusion.metrics import InceptionFeatures, TorchFidelity, compare
from lit_diffusion.metrics.reference_statistics import compute_statistics
from lit_diffusion.training import command as training_cli
from tests.metrics.made import write_inception, write_pictures

IMAGES, SUBSET = 96, 90  # images in each folder; KID's subset size
SETTINGS = {  # images, steps, pairs, options
    "digits": (100, 50, 11, ["-c", "configs/digits.yaml"]),
    "cifar10": (4, 4, 7, ["-c", "configs/cifar10.yaml", "--data=benchmarks.training_overhead.RandomImages"]),
}
KEYS = ("frechet_inception_distance", "inception_score_mean", "kernel_inception_distance_mean")


def in_turn(name: str, work: str, ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int) -> None:
    """Times both `pairs` times, one after the other, and prints the ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for timed, spent in zip((ours, theirs), times):
            begin = now()
            timed()
            spent.append(now() - begin)
    low, middle, high = statistics.quantiles([a / b for a, b in zip(*times)], n=4, method="inclusive")
    seconds = [statistics.median(spent) for spent in times]
    print(
        f"{name}: ours / theirs = {middle:.3f} (quartiles {low:.3f} to {high:.3f}; {pairs} pairs of {work}, medians "
        f"{seconds[0]:.2f} and {seconds[1]:.2f} s)"
    )


def our_scores(samples: str, reference: str, weights: str) -> list[float]:
    extractor, protocol = InceptionFeatures(weights), TorchFidelity(kid_subset_size=SUBSET, neighbours=0)
    theirs = compute_statistics(open_images(reference), extractor, protocol)
    ours = compute_statistics(open_images(samples), extractor, protocol, keep_logits=True)
    scores = compare(ours, {"reference": theirs}, protocol, extractor)
    return [scores[name].value for name in ("fid", "inception_score", "kid")]


def their_scores(samples: str, reference: str, weights: str) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about their number of workers
        found = torch_fidelity.calculate_metrics(
            input1=samples,
            input2=reference,
            cuda=False,
            isc=True,
            fid=True,
            kid=True,
            kid_subset_size=SUBSET,
            feature_extractor_weights_path=weights,
            cache=False,
            verbose=False,
        )
    return [found[key] for key in KEYS]


def measure_scores(pairs: int = 4) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sources = [
            str(write_pictures(Path(folder) / name, IMAGES, 32, noise, seed))
            for seed, (name, noise) in enumerate({"samples": 40, "reference": 0}.items())
        ]
        arguments = (*sources, str(write_inception(Path(folder))))
        both = list(zip(our_scores(*arguments), their_scores(*arguments)))  # also warms both up
        difference = max(abs(a / b - 1) for a, b in both)
        assert difference < 1e-4, both
        in_turn(
            "scores",
            f"2 x {IMAGES} images",
            lambda: our_scores(*arguments),
            lambda: their_scores(*arguments),
            pairs,
        )
        print(f"scores: largest relative difference {difference:.1e}")


@torch.no_grad()
def bare_loop(
    network: torch.nn.Module, shape: tuple[int, ...], steps: list[int], generator: torch.Generator
) -> torch.Tensor:
    """Algorithm 2 of Ho et al. 2020 over some of 1000 steps: eps prediction, variance beta."""
    alpha_bar = torch.cat([torch.ones(1), torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)])
    device = generator.device
    x = torch.randn(shape, generator=generator, device=device)
    for t, s in zip(reversed(steps), [*reversed(steps[:-1]), 0]):
        a_t, a_s = float(alpha_bar[t]), float(alpha_bar[s])
        beta = 1 - a_t / a_s
        eps = network(x, torch.full((len(x),), t - 1, device=device))
        x_0 = ((x - (1 - a_t) ** 0.5 * eps) / a_t**0.5).clamp(-1, 1)
        x = (a_s**0.5 * beta * x_0 + (a_t / a_s) ** 0.5 * (1 - a_s) * x) / (1 - a_t)
        if s:
            x = x + beta**0.5 * torch.randn(shape, generator=generator, device=device)
    return x


class Sampling(Callback):
    """Measures instead of training."""

    def __init__(self, name: str):
        self.name = name

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        images, count, pairs, _ = SETTINGS[self.name]
        module, sampler = diffusion_of(pl_module), AncestralSampler(count)
        shape = (images, *data_of(trainer).image_shape)
        steps = list(sampler.subset(module.reverse.process.schedule))
        pl_module.eval()

        def ours() -> torch.Tensor:
            with torch.no_grad():
                ((_, x),) = sample_blocks(trainer, pl_module, sampler, images, images, lambda amount: None)
            return x

        def theirs() -> torch.Tensor:
            return bare_loop(module.reverse.network, shape, steps, module.sample_generator(0))

        assert torch.allclose(ours(), theirs(), atol=1e-3)  # warms both up
        in_turn(self.name, f"{images} images in {count} steps", ours, theirs, pairs)


def measure_sampling(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        training_cli.main(
            [
                "fit",
                "--allow=benchmarks",
                *SETTINGS[name][-1],
                "--data.batch_size=2",
                "--trainer.max_steps=1",
                "--trainer.limit_val_batches=0",
                "--trainer.logger=false",
                "--trainer.enable_progress_bar=false",
                "--grids.every_n_steps=0",
                "--scores.num_samples=0",
                "--bits_per_dim.at_end=false",
                "--trainer.callbacks=benchmarks.evaluation.Sampling",
                f"--trainer.callbacks.name={name}",
                f"--run.dir={folder}",
            ]
        )


MEASURES = {"scores": measure_scores, **{name: lambda name=name: measure_sampling(name) for name in SETTINGS}}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", nargs="*", help=f"any of {', '.join(MEASURES)}; by default all")
    for name in parser.parse_args().measure or MEASURES:
        MEASURES[name]()
