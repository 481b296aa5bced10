"""When a run is saved, what is kept of it, and which step was the best."""

import math
import signal
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import linked
from lit_diffusion.runs.checkpoint_files import steps_in
from lit_diffusion.runs.signals import StopRequest


class Checkpoints(Callback):
    """Saves the run at the end of a step, as `checkpoints/last.ckpt`: every `every_n_steps` steps, after
    `every_minutes` minutes, before whatever is evaluated at that step, at the last step, and when a signal ends it.

    Those of every `every_n_steps` steps are kept as `step=N.ckpt`, the newest `keep` of them, all with null; they are
    what is left where `last.ckpt` is damaged. `best.ckpt` is that of the lowest value of `monitor`: `val/loss`, or the
    tracked FID where there is one. Files are of one inode where they are of one step and the disk knows links.

    every_minutes: null for steps alone, 0 for every step; a clock that goes backwards does not matter.
    """

    def __init__(self, every_n_steps: int = 1000, every_minutes: float | None = 30.0, keep: int | None = 2):
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps: {every_n_steps} is never; write 1 or more")
        if every_minutes is not None and not every_minutes >= 0:
            raise ConfigError(f"every_minutes: {every_minutes:g} is no time; write minutes, or null for steps alone")
        if keep is not None and keep < 0:
            raise ConfigError(f"keep: {keep} is no number of files; write 0 or more, or null for all")
        self.every_n_steps, self.every_minutes, self.keep = every_n_steps, every_minutes, keep
        self.monitor = "val/loss"
        self.signals: StopRequest | None = None
        self.best: float | None = None
        self._saved_step = -1
        self._saved_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()

    def end_step(self, trainer: Trainer, is_evaluated: bool) -> None:
        """Saves where that is due, and obeys a signal: called by the training loop at the end of every step."""
        signals = self.signals
        received = signals.received if signals else 0
        late = self.every_minutes is not None and time.monotonic() - self._saved_at >= 60 * self.every_minutes
        received, late = agreed(trainer, received, late)
        if received or late or is_over(trainer) or is_evaluated or trainer.global_step % self.every_n_steps == 0:
            self.save(trainer)
        if received and signals:
            signals.received = received
            signals.end()

    def save(self, trainer: Trainer) -> None:
        """Writes last.ckpt, and the file of the step where that is kept. Raises OSError where the disk does not do."""
        folder, step = Path(trainer.default_root_dir) / "checkpoints", trainer.global_step
        last, kept = folder / "last.ckpt", step % self.every_n_steps == 0 and self.keep != 0
        written = folder / f"step={step}.ckpt" if kept else last
        trainer.save_checkpoint(written)
        self._saved_step, self._saved_at = step, time.monotonic()
        if signals := self.signals:
            run = Path(trainer.default_root_dir)
            signals.note = f"step {step} is saved: lightning fit -c {run / 'config.yaml'} --ckpt_path last goes on"
        if trainer.is_global_zero and kept:
            linked(written, last)  # killed before this, the run goes on from the newer file
            for _, file in sorted(steps_in(folder))[: -self.keep] if self.keep else ():
                file.unlink()

    def offer(self, trainer: Trainer, name: str, value: float | None) -> None:
        """Keeps the step as the best where `value`, equal on all ranks, is the lowest of the monitored `name`."""
        if name != self.monitor or value is None or not math.isfinite(value):
            return
        if self._saved_step != trainer.global_step:
            self.save(trainer)
        best = Path(trainer.default_root_dir) / "checkpoints" / "best.ckpt"
        better = self.best is None or value < self.best
        if better:
            self.best = value
        if trainer.is_global_zero and (better or not best.exists()):  # a run that has left its folder has none
            linked(best.with_name("last.ckpt"), best)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and "val/loss" in trainer.callback_metrics:
            self.offer(trainer, "val/loss", trainer.callback_metrics["val/loss"].item())

    def state_dict(self) -> dict[str, Any]:
        """The lowest value so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def checkpoints_of(trainer: Trainer) -> Checkpoints | None:
    """The trainer's Checkpoints callback."""
    return next((callback for callback in trainer.callbacks if isinstance(callback, Checkpoints)), None)


def is_over(trainer: Trainer) -> bool:
    """Whether no step comes after this one."""
    return trainer.should_stop or trainer.global_step >= trainer.estimated_stepping_batches


def agreed(trainer: Trainer, received: int, late: bool) -> tuple[int, bool]:
    """What any rank has seen, on all ranks; a warning of SLURM's goes before other signals."""
    if trainer.world_size == 1:
        return received, late
    warned = received == signal.SIGUSR1
    seen = torch.tensor([received, late, warned], device=trainer.strategy.root_device)
    signum, some, warned = trainer.strategy.reduce(seen, reduce_op="max").tolist()
    return int(signal.SIGUSR1 if warned else signum), bool(some)
