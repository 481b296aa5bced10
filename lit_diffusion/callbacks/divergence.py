"""A run that diverges ends: tables print a dash, like the paper's."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.lookup import find_callback, generative_of
from lit_diffusion.callbacks.progress import say
from lit_diffusion.errors import ConfigError

KEY = "divergence"


class Divergence(Callback):
    """Ends training if the loss is not finite, or explodes relative to its own history, or if the model has
    failed by a criterion of its own.

    Losses of the batches of `every_n_steps` steps are kept on the device and read together, so that no step waits for
    them; a divergence is noticed within twice as many. Their median is the level of the loss. It has exploded if it
    exceeds the lowest level so far (at first that of the first batch) by more than `factor` times the fall of the loss
    since the start, or `factor` times the lowest level itself, whichever is larger. factor: 0 allows any growth.
    """

    def __init__(self, every_n_steps: int = 50, factor: float = 100.0):
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps: expected 1 or more, got {every_n_steps}")
        if not 0 <= factor < math.inf:
            raise ConfigError(f"factor: expected a positive number, or 0 to allow any growth; got {factor:g}")
        self.every_n_steps, self.factor = every_n_steps, factor
        self.reason: str | None = None
        self._losses: list[Tensor] = []
        self._steps: list[int] = []
        self._levels: tuple[float, float] | None = None  # at the start, the lowest
        self._last_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        self._steps.append(trainer.global_step)
        is_step = trainer.global_step > self._last_step  # several batches may go into a step, and it is not cut
        self._last_step = trainer.global_step
        last = trainer.global_step >= trainer.estimated_stepping_batches
        if not is_step or (len(self._losses) < self.every_n_steps * trainer.accumulate_grad_batches and not last):
            return
        self.reason = self._judge(self._of_all_ranks(trainer, pl_module), self._steps)
        self.reason = self.reason or generative_of(pl_module).failure
        self._losses, self._steps = [], []
        if self.reason:
            trainer.should_stop = True
            say(trainer, f"diverged: {self.reason}")

    def _judge(self, losses: list[float], steps: list[int]) -> str | None:
        """Why these losses end the run, if they do."""
        for step, loss in zip(steps, losses):
            if not math.isfinite(loss):
                return f"the loss is {loss:g} at step {step}"
        if len(losses) < self.every_n_steps:
            return None  # too few for a median
        level = sorted(losses)[len(losses) // 2]
        start, lowest = self._levels or (losses[0], losses[0])
        if self.factor and level - lowest > self.factor * max(abs(lowest), start - lowest):
            return f"the loss has grown from {lowest:.4g} to {level:.4g} by step {steps[-1]}"
        self._levels = start, min(lowest, level)
        return None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The history of all ranks, so that a resumed run is judged like an unbroken one."""
        losses = self._of_all_ranks(trainer, pl_module) if self._losses else []
        levels = self._levels and list(self._levels)
        checkpoint[KEY] = {"losses": losses, "steps": list(self._steps), "levels": levels, "reason": self.reason}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if KEY not in checkpoint:
            return
        state = checkpoint[KEY]
        self._losses = [torch.tensor(loss) for loss in state["losses"]]  # whose mean over ranks is what it was
        self._steps = list(state["steps"])
        self._levels = state["levels"] and tuple(state["levels"])
        self.reason = state["reason"]
        if self.reason and trainer.state.fn == "fit":
            trainer.should_stop = True  # a diverged run stays diverged

    def _of_all_ranks(self, trainer: Trainer, pl_module: LightningModule) -> list[float]:
        kept = torch.stack([loss.to(pl_module.device) for loss in self._losses])
        losses: list[float] = trainer.strategy.reduce(kept, reduce_op="mean").tolist()
        return losses


def divergence_of(trainer: Trainer) -> str | None:
    """Why the run has diverged, or None."""
    divergence = find_callback(trainer, Divergence)
    return divergence.reason if divergence else None
