"""When a run is saved, what is kept of it, and which step was the best."""

import math
import signal
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_diffusion.callbacks.lookup import generative_of
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import linked
from lit_diffusion.runs.checkpoint_files import steps_in
from lit_diffusion.runs.signals import StopRequest


class Checkpoints(Callback):
    """Saves the run at the end of a step, as `checkpoints/last.ckpt`: every `every_n_steps` steps, after
    `every_minutes` minutes, before anything is evaluated at that step, at the last step, and when a signal ends it.

    The files of every `every_n_steps` steps are kept as `step=N.ckpt`, the newest `keep`, or all with null; they
    remain if `last.ckpt` is damaged. `best.ckpt` has the lowest value of `monitor`: the tracked FID if there is one,
    else `val/loss`, unless it does not rank the steps of a model, as a GAN's. Files of one step are links to one file
    if the disk supports links.

    every_minutes: null for steps alone, 0 for every step; a clock set back does not matter.
    """

    def __init__(self, every_n_steps: int = 1000, every_minutes: float | None = 30.0, keep: int | None = 2):
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps: expected 1 or more, got {every_n_steps}")
        if every_minutes is not None and not every_minutes >= 0:
            raise ConfigError(f"every_minutes: expected 0 or more, or null for steps alone; got {every_minutes:g}")
        if keep is not None and keep < 0:
            raise ConfigError(f"keep: expected 0 or more, or null to keep all; got {keep}")
        self.every_n_steps, self.every_minutes, self.keep = every_n_steps, every_minutes, keep
        self.monitor = "val/loss"
        self.signals: StopRequest | None = None
        self.best: float | None = None
        self._saved_step = -1
        self._saved_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()

    def end_step(self, trainer: Trainer, is_evaluated: bool) -> None:
        """Saves if due, and obeys a signal; the training loop calls this at the end of every step."""
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
        """Writes last.ckpt, and the file of the step if that is kept. Raises OSError if the disk fails."""
        folder, step = Path(trainer.default_root_dir) / "checkpoints", trainer.global_step
        last, kept = folder / "last.ckpt", step % self.every_n_steps == 0 and self.keep != 0
        written = folder / f"step={step}.ckpt" if kept else last
        trainer.save_checkpoint(written)
        self._saved_step, self._saved_at = step, time.monotonic()
        if signals := self.signals:
            run = Path(trainer.default_root_dir)
            signals.note = f"step {step} is saved; resume: lightning fit -c {run / 'config.yaml'} --ckpt_path last"
        if trainer.is_global_zero and kept:
            linked(written, last)  # a run killed before this resumes from the newer file
            for _, file in sorted(steps_in(folder))[: -self.keep] if self.keep else ():
                file.unlink()

    def offer(self, trainer: Trainer, name: str, value: float | None) -> None:
        """Keeps the step as the best if `value`, equal on all ranks, is the lowest so far of the monitored `name`."""
        if name != self.monitor or value is None or not math.isfinite(value):
            return
        if self._saved_step != trainer.global_step:
            self.save(trainer)
        best = Path(trainer.default_root_dir) / "checkpoints" / "best.ckpt"
        better = self.best is None or value < self.best
        if better:
            self.best = value
        if trainer.is_global_zero and (better or not best.exists()):  # none yet after a resume in a new folder
            linked(best.with_name("last.ckpt"), best)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        comparable = "val/loss" in trainer.callback_metrics and generative_of(pl_module).loss_ranks_steps
        if trainer.state.fn == "fit" and not trainer.sanity_checking and comparable:
            self.offer(trainer, "val/loss", trainer.callback_metrics["val/loss"].item())

    def state_dict(self) -> dict[str, Any]:
        """The lowest value so far, and of what."""
        return {"best": self.best, "monitor": self.monitor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Values of another name do not compare."""
        if state_dict.get("monitor", self.monitor) == self.monitor:
            self.best = state_dict["best"]


def is_over(trainer: Trainer) -> bool:
    """Whether no step comes after this one. A request to stop waits for `min_steps` and `min_epochs`."""
    enough = trainer.global_step >= (trainer.min_steps or 0) and trainer.current_epoch >= (trainer.min_epochs or 0)
    return (trainer.should_stop and enough) or trainer.global_step >= trainer.estimated_stepping_batches


def agreed(trainer: Trainer, received: int, late: bool) -> tuple[int, bool]:
    """What any rank has seen, on all ranks; SLURM's warning takes precedence over other signals."""
    if trainer.world_size == 1:
        return received, late
    warned = received == signal.SIGUSR1
    seen = torch.tensor([received, late, warned], device=trainer.strategy.root_device)
    signum, some, warned = trainer.strategy.reduce(seen, reduce_op="max").tolist()
    return int(signal.SIGUSR1 if warned else signum), bool(some)
