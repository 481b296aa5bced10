"""The cost of the framework: our training loop against a bare PyTorch loop, in turn in one process.

    python -m benchmarks.training_overhead [digits] [cifar10]

Both loops train a network of the same configuration, with the same optimizer, clipping, warm-up and EMA, on the same
data and device. Ours is `lightning fit` with logging, progress, timing and checkpoints, but without pictures and
validation. After every block of our steps the bare loop takes as many; each pair of blocks gives one ratio, and the
median of the ratios is printed with its quartiles. CIFAR10's network gets batches of 8, because a batch of 128 takes
half a minute on two CPU cores; smaller batches make overhead look larger.
"""

import argparse
import copy
import math
import statistics
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.utils import clip_grad_norm_

from benchmarks.clock import now
from lit_diffusion.callbacks import EMA
from lit_diffusion.callbacks.lookup import data_of, diffusion_of, find_callback
from lit_diffusion.data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.memory import keep_freed_memory
from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.training import command as training_cli

RANDOM = ["--data=benchmarks.training_overhead.RandomImages", "--data.batch_size=8"]
SETTINGS = {  # steps in a block, pairs of blocks, options
    "digits": (25, 21, ["-c", "configs/digits.yaml"]),
    "cifar10": (2, 15, ["-c", "configs/cifar10.yaml", *RANDOM]),
}


class RandomImages(ImageData):
    """Random images of CIFAR10's shape: the values of the pixels do not change the time."""

    image_shape = (3, 32, 32)
    num_levels = 256

    def read(self) -> Mapping[str, MemoryStore]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (512, *self.image_shape), dtype=torch.uint8, generator=generator)
        return {"train": MemoryStore(images), "test": MemoryStore(images[:8])}


class BareLoop:
    """Algorithm 1 of Ho et al. 2020 as a minimal script: eps prediction, linear schedule, L_simple."""

    def __init__(self, module: DiffusionModule, images: torch.Tensor, levels: int, batch: int, decay: float):
        self.network = copy.deepcopy(module.reverse.network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.device = module.device
        self.images, self.levels, self.batch, self.decay = images.to(self.device), levels, batch, decay
        self.optimizer = module.optimizer(self.network.parameters())
        self.schedule = module.lr_schedule(self.optimizer)
        self.alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), dim=0).to(self.device)
        self.order = torch.randperm(len(images), device=self.device)
        self.position = 0

    def run(self, steps: int) -> None:
        self.network.train()
        for _ in range(steps):
            if self.position + self.batch > len(self.images):
                self.order, self.position = torch.randperm(len(self.images), device=self.device), 0
            index = self.order[self.position : self.position + self.batch]
            self.position += self.batch
            x_0 = self.images[index].float() / ((self.levels - 1) / 2) - 1
            t = torch.randint(0, 1000, (self.batch,), device=self.device)
            eps = torch.randn_like(x_0)
            signal = self.alpha_bar[t][:, None, None, None]
            loss = ((self.network(signal.sqrt() * x_0 + (1 - signal).sqrt() * eps, t) - eps) ** 2).mean()
            self.optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - self.decay)


class InTurn(Callback):
    """Times a block of the trainer's steps, then runs the same number of bare steps and times them."""

    def __init__(self, name: str, block: int):
        self.name = name
        self.block = block
        self.ours: list[float] = []
        self.bare: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data, ema = diffusion_of(pl_module), data_of(trainer), find_callback(trainer, EMA)
        assert data.num_levels is not None and ema is not None
        self.loop = BareLoop(module, data.images("train"), data.num_levels, data.batch_size, ema.decay)
        self.loop.run(self.block)
        self.begin = math.nan  # the first block warms up

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.block:
            return
        begin = now()
        self.ours.append(begin - self.begin)
        self.loop.run(self.block)
        self.begin = now()
        self.bare.append(self.begin - begin)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ours, bare = self.ours[1:], self.bare[1:]
        low, middle, high = statistics.quantiles([a / b for a, b in zip(ours, bare)], n=4)
        per_step = [1000 * statistics.median(times) / self.block for times in (ours, bare)]
        print(
            f"{self.name}: ours / bare = {middle:.3f} (quartiles {low:.3f} to {high:.3f}; {len(ours)} pairs of "
            f"{self.block} steps, medians {per_step[0]:.1f} and {per_step[1]:.1f} ms a step)"
        )


def measure(name: str) -> None:
    keep_freed_memory()  # as in our commands
    block, pairs, options = SETTINGS[name]
    with tempfile.TemporaryDirectory() as folder:
        training_cli.main(
            [
                "fit",
                "--allow=benchmarks",
                *options,
                "--trainer.limit_val_batches=0",
                "--grids.every_n_steps=0",
                "--scores.num_samples=0",
                "--bits_per_dim.splits=[]",
                "--trainer.logger.offline=true",
                f"--trainer.max_steps={block * (pairs + 1)}",
                "--trainer.callbacks=benchmarks.training_overhead.InTurn",
                f"--trainer.callbacks.name={name}",
                f"--trainer.callbacks.block={block}",
                f"--run.dir={folder}",
            ]
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="*", help=f"any of {', '.join(SETTINGS)}; by default all")
    for name in parser.parse_args().network or SETTINGS:
        measure(name)
