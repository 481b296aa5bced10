"""How fast kernels are chosen: compiled networks, memory layout and the precision of float32 matrix products."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lit_diffusion.callbacks.lookup import callbacks_of, data_of, generative_of
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.notice import notice

Compile = Literal["off", "default", "reduce-overhead", "max-autotune"]
MemoryFormat = Literal["contiguous", "channels_last"]
MatmulPrecision = Literal["highest", "high", "medium"]

# Dropout draws what it draws in eager mode, so that compiled training equals eager training.
INDUCTOR_OPTIONS: dict[str, dict[str, Any]] = {
    "default": {"fallback_random": True},
    "reduce-overhead": {"fallback_random": True, "triton.cudagraphs": True},
    "max-autotune": {
        "fallback_random": True,
        "triton.cudagraphs": True,
        "max_autotune": True,
        "coordinate_descent_tuning": True,
    },
}


class Speed(Callback):
    """Faster kernels on request; without it, PyTorch's defaults in eager mode.

    compile: the network as one graph, by `torch.compile`. "reduce-overhead" also records it as CUDA graphs, which a GPU
        replays without waiting for the CPU; "max-autotune" also times several kernels for each operation.
    memory_format: "channels_last" stores images as (B, H, W, C).
    matmul_precision: of float32 matrix products; "high" allows TF32 on GPUs.

    The network is compiled for the batch sizes of training, validation and the evaluations; other batches, such as the
    incomplete last one, run in eager mode. Names of weights do not change.
    """

    def __init__(
        self,
        compile: Compile = "off",
        memory_format: MemoryFormat = "contiguous",
        matmul_precision: MatmulPrecision = "highest",
    ):
        for name, value, choices in (
            ("compile", compile, get_args(Compile)),
            ("memory_format", memory_format, get_args(MemoryFormat)),
            ("matmul_precision", matmul_precision, get_args(MatmulPrecision)),
        ):
            if value not in choices:
                raise ConfigError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        self.compile, self.memory_format, self.matmul_precision = compile, memory_format, matmul_precision
        self._compiled: list[nn.Module] = []
        self._eager = False  # because it cannot compile here

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Layout and precision, before EMA copies the model."""
        torch.set_float32_matmul_precision(self.matmul_precision)
        if self.memory_format == "channels_last":
            for network in generative_of(pl_module).networks:
                network.to(memory_format=torch.channels_last)
        if self.compile in ("reduce-overhead", "max-autotune") and trainer.accumulate_grad_batches > 1:
            raise ConfigError(
                f"speed.compile: {self.compile} reuses the memory of gradients, which "
                f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} would add up; use default"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compiles, once; later than EMA's copy, which stays eager."""
        if self.compile == "off" or self._compiled or self._eager:
            return
        problem = compiler_problem(pl_module.device, self.compile)
        if problem:
            self._eager = True
            notice(f"speed.compile: {problem}; continuing in eager mode")
            return
        sizes = batch_sizes(trainer)
        for network in generative_of(pl_module).networks:
            network.forward = CompiledForward(network.forward, self.compile, sizes)
            self._compiled.append(network)

    on_validation_start = on_test_start = on_predict_start = on_fit_start

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for network in self._compiled:
            del network.forward
        self._compiled.clear()


class CompiledForward:
    """A network's forward pass, compiled for some batch sizes and eager for others."""

    def __init__(self, forward: Callable[..., Tensor], mode: Compile, sizes: set[int]):
        self.eager, self.sizes, self.graphs = forward, sizes, mode != "default" and torch.cuda.is_available()
        self.compiled = torch.compile(forward, dynamic=False, options=INDUCTOR_OPTIONS[mode])

    def __call__(self, x: Tensor, *others: Tensor) -> Tensor:
        if len(x) not in self.sizes:
            return self.eager(x, *others)
        if not self.graphs:
            return self.compiled(x, *others)
        torch.compiler.cudagraph_mark_step_begin()
        output = self.compiled(x, *others)
        return output if torch.is_grad_enabled() else output.clone()  # the next replay overwrites it


def batch_sizes(trainer: Trainer) -> set[int]:
    """Sizes of complete batches on one device, in training, validation and evaluations."""
    data, ranks = data_of(trainer), trainer.world_size
    trained = generative_of(trainer.lightning_module).network_batches(data.batch_size // ranks)
    evaluated = {getattr(callback, "batch_size", 0) for callback in callbacks_of(trainer)}
    return {*trained, data.eval_batch_size // ranks, *evaluated}


def compiler_problem(device: torch.device, mode: Compile) -> str:
    """Why a mode does not work on this machine; empty if it does."""
    if mode != "default" and device.type != "cuda":
        return (
            f"{mode} is for GPUs of NVIDIA, and this run is on {device.type} (--speed.compile=default compiles for it)"
        )
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:  # whatever it is, eager mode works
        return f"cannot compile here ({str(error).strip().split(chr(10))[0] or type(error).__name__})"
    return ""
