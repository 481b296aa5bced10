"""CIFAR10's network against diffusers' `UNet2DModel` on the CPU, in turn in one process.

    python -m benchmarks.networks [forward] [training] [memory] [--tiny]

forward: evaluation of 8 images without gradients. training: a step on 8 images: loss, gradients, clipping, Adam, EMA.
In float32 and in bf16, ours in both memory layouts; each round runs all of them once and gives the ratios
to diffusers' float32, of which the median is printed with its quartiles. Also the number of operators in a step.
memory: the peak memory of a training step of the 256x256 network, without and with gradient checkpointing, in processes
of their own. --tiny: small networks, to try the benchmark.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.clock import now
from benchmarks.gpu.training import diffusers_network, our_network
from lit_diffusion.memory import keep_freed_memory
from lit_diffusion.nn import UNet

IMAGES, SIZE = 8, 32
PEER = "diffusers, float32"
NETWORK_256: dict[str, Any] = {"multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (4,), "dropout": 0.0}
SMALL_256: dict[str, Any] = {
    "width": 16,
    "groups": 8,
    "multipliers": (1, 1, 2),
    "attention_levels": (1,),
    "num_blocks": 1,
}


class Work:
    """A network and what is timed of it. dtype: of its layers, by autocast."""

    def __init__(self, network: nn.Module, dtype: torch.dtype | None, batch: int = IMAGES, size: int = SIZE):
        self.network, self.dtype = network, dtype
        self.x, self.t = torch.randn(batch, 3, size, size), torch.randint(0, 1000, (batch,))
        self.eps = torch.randn_like(self.x)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, fused=True)
        self.average = [parameter.detach().clone() for parameter in network.parameters()]

    def predict(self) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype is not None):
            output = self.network(self.x, self.t)
        result: Tensor = getattr(output, "sample", output)
        return result.float()

    @torch.no_grad()
    def forward(self) -> None:
        self.network.eval()
        self.predict()

    def training(self) -> None:
        self.network.train()
        self.optimizer.zero_grad()
        (self.predict() - self.eps).square().mean().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.network.parameters()], 1e-4)


class Count(TorchDispatchMode):
    """Counts operators."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += 1
        return operation(*args, **(kwargs or {}))


def last_channels(tiny: bool) -> nn.Module:
    """Ours, as `speed.memory_format: channels_last` stores it."""
    return our_network(tiny).to(memory_format=torch.channels_last)


def measure(name: str, rounds: int, tiny: bool) -> None:
    """One of the methods of Work, of both networks in both precisions."""
    builders = {"ours": our_network, "ours, channels-last": last_channels, "diffusers": diffusers_network}
    works = {
        f"{whose}, {precision}": Work(build(tiny), dtype)
        for whose, build in builders.items()
        for precision, dtype in (("float32", None), ("bf16", torch.bfloat16))
    }
    timed: dict[str, Callable[[], None]] = {key: getattr(work, name) for key, work in works.items()}
    operators = {}
    for key, run in timed.items():
        with Count() as count:
            run()  # warms up too
        operators[key] = count.operators
    seconds: dict[str, list[float]] = {key: [] for key in timed}
    for _ in range(rounds):
        for key, run in timed.items():
            begin = now()
            run()
            seconds[key].append(now() - begin)
    for key, spent in seconds.items():
        low, middle, high = statistics.quantiles([a / b for a, b in zip(spent, seconds[PEER])], n=4, method="inclusive")
        print(
            f"{name}: {key}: {middle:.2f} of {PEER} (quartiles {low:.2f} to {high:.2f}; {rounds} rounds of {IMAGES} "
            f"images, median {statistics.median(spent):.3f} s, {operators[key]} operators)"
        )


def step_of_256(checkpointing: bool, tiny: bool) -> None:
    """A training step on one image, in this process; prints its time and the peak memory in MiB."""
    options, size = (SMALL_256, 32) if tiny else (NETWORK_256, 256)
    work = Work(UNet(3, 3, **options, gradient_checkpointing=checkpointing), None, 1, size)
    begin = time.perf_counter()
    work.training()
    spent = time.perf_counter() - begin
    kept = 4 * sum(parameter.numel() for parameter in work.network.parameters()) // 2**20
    print(f"peak {peak_memory():,} MiB, of them 5 x {kept:,} for weights, gradients, Adam and EMA; {spent:.1f} s")


def peak_memory() -> int:
    """Of this process, in MiB, as Linux counts it; that of `resource` includes the process that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024


def measure_memory(tiny: bool) -> None:
    for checkpointing in (False, True):
        command = f"from benchmarks.networks import step_of_256; step_of_256({checkpointing}, {tiny})"
        process = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
        print(f"memory: gradient_checkpointing={str(checkpointing).lower()}: {process.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", nargs="*", help="any of forward, training, memory; by default all")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tiny", action="store_true", help="small networks, to try the benchmark")
    options = parser.parse_args()
    keep_freed_memory()  # as in our commands
    for name in options.measure or ("forward", "training", "memory"):
        if name == "memory":
            measure_memory(options.tiny)
        else:
            measure(name, options.rounds, options.tiny)


if __name__ == "__main__":
    main()
