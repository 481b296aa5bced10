"""Whether a GPU computes what a CPU does, and whether a resumed run equals an unbroken one there, bit by bit."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.report import Report, float32, relative_error
from lit_diffusion.diffusion import (
    DDIMSampler,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    Hybrid,
    LearnedDiagonal,
    LearnedRange,
    LinearSchedule,
    PosteriorMean,
    Simple,
    VariationalBound,
    Velocity,
)
from lit_diffusion.diffusion.bound import bound_term, prior_kl
from lit_diffusion.nn import UNet
from lit_diffusion.training import command
from tests.conftest import TINY


def random_images(count: int) -> torch.Tensor:
    levels = torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    return levels.float() / 127.5 - 1


def build_reverse(report: Report, **parts: Any) -> GaussianReverse:
    """CIFAR10's model with random weights that are not nearly zero, as a new network's last layer is."""

    def network(inputs: int, outputs: int) -> nn.Module:
        if report.tiny:
            return UNet(inputs, outputs, width=16, multipliers=(1, 2), num_blocks=1, attention_levels=(1,), groups=8)
        return UNet(inputs, outputs)

    torch.manual_seed(0)
    reverse = GaussianReverse(GaussianProcess(LinearSchedule()), network, channels=3, **parts)
    with torch.no_grad():
        for parameter in reverse.network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return reverse


def measure_losses(report: Report) -> None:
    """Losses and gradients on equal weights and draws, in float32 without TF32."""
    cases: dict[str, tuple[dict[str, Any], Any]] = {
        "Simple, eps": ({"parameterization": Epsilon()}, Simple()),
        "Simple, v": ({"parameterization": Velocity()}, Simple()),
        "VariationalBound, mu": ({"parameterization": PosteriorMean()}, VariationalBound()),
        "VariationalBound, learned diagonal": ({"variance": LearnedDiagonal()}, VariationalBound()),
        "Hybrid": ({"variance": LearnedRange()}, Hybrid()),
    }
    x_0 = random_images(4)
    for name, (parts, objective) in cases.items():
        with report.attempt("agreement", name), float32(convolutions=False):
            reverse = build_reverse(report, **parts).eval()
            objective.bind(reverse)
            draw, eps = objective.draw(reverse, x_0)
            results = []
            for device in ("cpu", report.device):
                reverse.to(device).zero_grad()
                moved = type(draw)(draw.t.to(device), draw.weight.to(device)), eps.to(device)
                losses = objective.to(device)(reverse, x_0.to(device), moved)
                losses.mean().backward()
                gradients = [p.grad.flatten().cpu() for p in reverse.parameters() if p.grad is not None]
                results.append((losses.detach().cpu(), torch.cat(gradients)))
            loss, gradient = (relative_error(there, here) for here, there in zip(*results))
            text = f"relative error of the losses {loss:.1e}, of the gradient {gradient:.1e}"
            report.row("agreement", name, text, loss=loss, gradient=gradient)


@torch.no_grad()
def measure_precisions(report: Report) -> None:
    """Network, samples and bound of each precision against the CPU's float32."""
    reverse, x_0 = build_reverse(report).eval(), random_images(4)
    x_T = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    t = torch.tensor([1, 2, 500, 1000])
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(4))

    def results(device: str) -> list[torch.Tensor]:
        x, steps = x_T.to(device), t.to(device)
        for step in DDIMSampler(steps=2 if report.tiny else 10).chain(reverse, x):
            x = step.x_s
        start = x_0.to(device)
        p = reverse.predict(reverse.process.marginal(start, steps).rsample(eps.to(device)), steps, clip=True)
        return [reverse.evaluate(start, steps), x, torch.stack([bound_term(p, start), prior_kl(reverse, start)])]

    reference = results("cpu")
    reverse.to(report.device)
    ways: dict[str, tuple[dict[str, Any], torch.dtype | None]] = {
        "float32, no TF32": ({"convolutions": False}, None),
        "float32, PyTorch's defaults": ({}, None),
        "TF32 everywhere": ({"matmul": "high"}, None),
        "bf16": ({}, torch.bfloat16),
    }
    for name, (how, dtype) in ways.items():
        enabled = dtype is not None
        with report.attempt("agreement", name), float32(**how), torch.autocast(report.device, dtype, enabled=enabled):
            errors = [relative_error(there, here) for there, here in zip(results(report.device), reference)]
            text = "network {:.1e}, DDIM samples {:.1e}, bound {:.1e}".format(*errors)
            report.row("agreement", f"{name}: relative errors", text, errors=errors)


def measure_resume(report: Report) -> None:
    """A run that is stopped half-way and resumed, against an unbroken one; and two equal runs."""
    cases = {
        "PyTorch's defaults": [],
        "deterministic": ["--trainer.deterministic=true"],
        "deterministic, bf16-mixed": ["--trainer.deterministic=true", "--trainer.precision=bf16-mixed"],
    }
    device = [f"--trainer.accelerator={report.device}", "--trainer.devices=1"]

    def lightning(*arguments: str) -> None:
        for variable in ("PL_GLOBAL_SEED", "LIT_DIFFUSION_RUN_FOLDER"):
            os.environ.pop(variable, None)
        command.main([*arguments])

    for name, options in list(cases.items())[: 1 if report.tiny else None]:
        with tempfile.TemporaryDirectory() as folder, report.attempt("resume", name):
            first = ["fit", *TINY, *device, *options, f"--run.dir={folder}", "--data.flip=true"]
            lightning(*first, "--trainer.max_steps=20", "--run.name=whole")
            lightning(*first, "--trainer.max_steps=20", "--run.name=again")
            lightning(*first, "--trainer.max_steps=10", "--run.name=half")
            lightning("fit", f"-c={folder}/half/config.yaml", "--ckpt_path=last", "--trainer.max_steps=20")
            weights = compare(folder)
            text = f"resumed run: {weights('half', 'whole')}; the same run twice: {weights('again', 'whole')}"
            report.row("resume", f"digits, 20 steps, {name}", text)


def compare(folder: str) -> Callable[[str, str], str]:
    def weights(one: str, other: str) -> str:
        states = [torch.load(Path(folder, run, "checkpoints/last.ckpt"), weights_only=True) for run in (one, other)]
        assert states[0]["global_step"] == states[1]["global_step"] == 20
        a, b = (state["current_model_state"] for state in states)
        unequal = sum(not torch.equal(a[name], b[name]) for name in a)
        return f"{unequal} of {len(a)} tensors differ" if unequal else "equal bit by bit"

    return weights
