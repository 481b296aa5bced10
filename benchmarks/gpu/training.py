"""Training steps: a bare loop, the same with diffusers' network, and `lightning fit` with its speed settings."""

import os
import tempfile
import time
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from benchmarks.clock import now
from benchmarks.gpu.report import Report, float32
from lit_diffusion.nn import UNet
from lit_diffusion.training import command

WARM, STEPS, PROFILED = 12, 40, 5
SMALL = "{width: 16, multipliers: [1, 2], num_blocks: 1, attention_levels: [1], groups: 8}"
BF16, FUSED = "--trainer.precision=bf16-mixed", "--model.optimizer.fused=true"
CUDA = ["-c", "configs/speed/cuda.yaml"]
# what is timed: batch, options, whether it is profiled too
FITS: dict[str, tuple[int, list[str], bool]] = {
    "float32": (128, [], False),
    "TF32": (128, ["--speed.matmul_precision=high"], False),
    "bf16": (128, [BF16, FUSED], True),
    "configs/speed/cuda.yaml": (128, CUDA, True),
    "the same, channels-last": (128, [*CUDA, "--speed.memory_format=channels_last"], True),
    "the same, batch 256": (256, CUDA, False),
}
COMPILED = [name for name, (_, options, _) in FITS.items() if CUDA[1] in options]


class StepClock(Callback):
    """Times the steps after the first ones and, if asked, profiles a few more."""

    seconds: dict[str, float] = {}
    profiles: dict[str, str] = {}
    first_step: dict[str, float] = {}

    def __init__(self, name: str, warm: int, steps: int, profiled: int):
        self.name, self.warm, self.steps, self.profiled = name, warm, steps, profiled
        self.profiler: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begin = now()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == 1:
            StepClock.first_step[self.name] = now() - self.begin
        if step == self.warm:
            self.begin = now()
        if step == self.warm + self.steps:
            StepClock.seconds[self.name] = (now() - self.begin) / self.steps
            if self.profiled:
                self.profiler = torch.profiler.profile()
                self.profiler.start()
        if self.profiler and step == self.warm + self.steps + self.profiled:
            now()
            self.profiler.stop()
            StepClock.profiles[self.name] = summarise(self.profiler, self.profiled)
            self.profiler = None


def summarise(profiler: Any, steps: int) -> str:
    """Launches and waits a step, and how long the device was busy."""
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation
    )
    names = [event.name for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CPU]
    launches = sum("LaunchKernel" in name or name == "cudaGraphLaunch" for name in names)
    waits = sum(name in ("cudaStreamSynchronize", "cudaDeviceSynchronize") for name in names)
    busy, until = 0.0, 0.0
    for begin, end in kernels:
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    whole = until - kernels[0][0] if kernels else float("nan")
    return f", {launches / steps:.0f} launches, {waits / steps:.1f} waits, GPU busy {100 * busy / whole:.0f}%"


def fit(report: Report, name: str, warm: int, steps: int, profiled: int) -> None:
    """`lightning fit -c configs/cifar10.yaml` on random images, for a few steps."""
    batch, options, _ = FITS[name]
    for variable in ("PL_GLOBAL_SEED", "LIT_DIFFUSION_RUN_FOLDER"):
        os.environ.pop(variable, None)
    torch._dynamo.reset()
    with tempfile.TemporaryDirectory() as folder:
        command.main(
            [
                "fit",
                "--allow=benchmarks",
                *("-c", "configs/cifar10.yaml"),
                *options,
                "--data=benchmarks.training_overhead.RandomImages",
                f"--data.batch_size={8 if report.tiny else batch}",
                f"--trainer.accelerator={report.device}",
                "--trainer.devices=1",
                "--trainer.logger=false",
                "--trainer.enable_progress_bar=false",
                "--trainer.limit_val_batches=0",
                f"--trainer.max_steps={warm + steps + profiled}",
                "--grids.every_n_steps=0",
                "--scores.num_samples=0",
                "--bits_per_dim.splits=[]",
                "--checkpoint.keep=0",
                "--trainer.callbacks=benchmarks.gpu.training.StepClock",
                f"--trainer.callbacks.name={name}",
                f"--trainer.callbacks.warm={warm}",
                f"--trainer.callbacks.steps={steps}",
                f"--trainer.callbacks.profiled={profiled}",
                f"--run.dir={folder}",
                *([f"--model.reverse.network.init_args={SMALL}", "--speed.compile=off"] if report.tiny else []),
            ]
        )


def measure_fits(report: Report) -> None:
    warm, steps = (1, 2) if report.tiny else (WARM, STEPS)
    for name, (batch, _, profiled) in list(FITS.items())[: 4 if report.tiny else None]:
        if report.left < 20 and not report.tiny:
            report.row("fit", name, "left out: no time")
            continue
        with report.attempt("fit", name):
            fit(report, name, warm, steps, PROFILED if profiled and report.device == "cuda" else 0)
            note = StepClock.profiles.get(name, "")
            first = f", first step {StepClock.first_step[name]:.0f} s" if name in COMPILED else ""
            report.training_rate("fit", name, 8 if report.tiny else batch, StepClock.seconds[name], f"{note}{first}")


class BareLoop:
    """A training step as a script for a GPU has it: nothing in it waits for the device."""

    def __init__(self, report: Report, network: nn.Module, dtype: torch.dtype | None, compiled: bool):
        self.device, self.dtype, self.batch = report.device, dtype, 4 if report.tiny else 128
        self.network = network.to(self.device).train()
        self.average = [p.detach().clone() for p in self.network.parameters()]
        graphs = None if report.tiny else "reduce-overhead"
        backend = {"backend": "eager"} if report.tiny else {"mode": graphs}
        self.call: Any = torch.compile(self.network, dynamic=False, **backend) if compiled else self.network  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=2e-4, fused=compiled or None)
        self.images = torch.randint(0, 256, (1000, 3, 32, 32), dtype=torch.uint8, device=self.device)
        self.alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, device=self.device), 0)

    def step(self) -> None:
        x_0 = self.images[torch.randint(0, 1000, (self.batch,), device=self.device)].float() / 127.5 - 1
        t, eps = torch.randint(0, 1000, (self.batch,), device=self.device), torch.randn_like(x_0)
        signal = self.alpha_bar[t][:, None, None, None]
        with torch.autocast(self.device, self.dtype) if self.dtype else nullcontext():
            output = self.call(signal.sqrt() * x_0 + (1 - signal).sqrt() * eps, t)
        loss = (getattr(output, "sample", output).float() - eps).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.network.parameters()], 1e-4)


def our_network(tiny: bool) -> nn.Module:
    if tiny:
        return UNet(3, 3, width=16, multipliers=(1, 2), num_blocks=1, attention_levels=(1,), groups=8)
    return UNet(3, 3, dropout=0.1)


def diffusers_network(tiny: bool) -> nn.Module:
    """The network of google/ddpm-cifar10-32."""
    from diffusers import UNet2DModel

    levels = 2 if tiny else 4
    network: nn.Module = UNet2DModel(
        sample_size=32,
        block_out_channels=(16, 32) if tiny else (128, 256, 256, 256),
        layers_per_block=1 if tiny else 2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D")[:levels],
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D")[-levels:],
        norm_num_groups=8 if tiny else 32,
        attention_head_dim=None,
        norm_eps=1e-6,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        dropout=0.1,
    )
    return network


def measure_bare(report: Report) -> None:
    bf16 = torch.bfloat16
    ways = {
        "ours, float32": (our_network, None, False),
        "ours, bf16": (our_network, bf16, False),
        "ours, bf16, CUDA graphs": (our_network, bf16, True),
        "diffusers, float32": (diffusers_network, None, False),
        "diffusers, bf16": (diffusers_network, bf16, False),
    }
    for name, (build, dtype, compiled) in ways.items():
        with report.attempt("bare loop", name), float32():
            torch.manual_seed(0)
            loop = BareLoop(report, build(report.tiny), dtype, compiled)
            for _ in range(1 if report.tiny else 10):
                loop.step()
            steps, begin = (1 if report.tiny else 40), now()
            for _ in range(steps):
                loop.step()
            report.training_rate("bare loop", name, loop.batch, (now() - begin) / steps)


def fill_compiler_cache(report: Report) -> None:
    """Compiles what is timed later, so that the timed runs read it from the disk; for a process of its own."""
    for name in COMPILED:
        begin = time.monotonic()
        fit(report, name, 1, 1, 0)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    if not report.tiny:
        loop = BareLoop(report, our_network(report.tiny), torch.bfloat16, True)
        for _ in range(3):
            loop.step()
