"""What a fit cannot continue with from a checkpoint is refused by name before anything starts."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lit_diffusion.callbacks import RunSummary
from lit_diffusion.callbacks.lookup import find_callback
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.modules import GenerativeModule, LossModule
from lit_diffusion.training.resuming import with_settings_of
from lit_diffusion.training.schedule_check import SCHEDULE, build, follow

# Parameters that only say where training starts: the weights in a checkpoint have left it.
STARTS = {"LearnedSchedule": "start"}


def check_resume(file: Path, checkpoint: dict[str, Any], trainer: Trainer, model: GenerativeModule) -> None:
    """Raises ConfigError, with the key, for a setting that differs from the checkpoint's and cannot take effect."""
    check_end(file, checkpoint, trainer)
    summary = find_callback(trainer, RunSummary)
    if summary is None:
        return
    summary.loaded = checkpoint.get("settings")
    if summary.loaded is not None:
        check_starts(file, summary)
    changed = summary.changes("model")
    if changed and checkpoint["optimizer_states"]:
        for optimizer, state in zip(model.build_optimizers(), checkpoint["optimizer_states"]):
            check_state(file, state, optimizer, summary.changes("model.optimizer"))
        if isinstance(model, LossModule):
            check_position(model, checkpoint["global_step"])


def check_end(file: Path, checkpoint: dict[str, Any], trainer: Trainer) -> None:
    """Raises ConfigError if the run would end before the step of the checkpoint."""
    if trainer.fast_dev_run and checkpoint["global_step"]:  # type: ignore[attr-defined]  # not declared by Lightning
        raise ConfigError("a trial cannot continue from a checkpoint; omit --ckpt_path", key="trainer.fast_dev_run")
    step, epoch = checkpoint["global_step"], checkpoint.get("epoch", 0)
    for setting, least, reached in (
        ("max_steps", step, f"the step of {file}"),
        ("max_epochs", epoch + 1, f"as {file} is in epoch {epoch + 1}"),
    ):
        limit = getattr(trainer, setting)
        if step and limit not in (None, -1) and limit < least:
            raise ConfigError(
                f"expected {least} or more, {reached}; got {limit}; use an earlier checkpoint to repeat steps",
                key=f"trainer.{setting}",
            )


def check_starts(file: Path, summary: RunSummary) -> None:
    """Raises ConfigError if training would have to start anew for a setting to have an effect."""
    loaded = summary.loaded or {}
    for key, name in summary.settings.items():
        if isinstance(name, str) and name in STARTS:
            for changed in summary.changes(f"{key}.{STARTS[name]}"):
                raise ConfigError(
                    f"expected {loaded.get(changed)}, from which {name} has been trained in {file}; got "
                    f"{summary.settings.get(changed)}; start a new run for another value",
                    key=changed,
                )


def check_position(model: LossModule, step: int) -> None:
    """Raises ConfigError if the schedule, as it is now, ends before the step of the checkpoint."""
    schedule = build(model)
    try:
        if not isinstance(schedule, ReduceLROnPlateau):
            follow(schedule, step)
    except Exception as error:  # of any kind, from any schedule
        reason = f"cannot be resumed at step {step} of the checkpoint ({first_words(error)}); use a longer schedule"
        raise ConfigError(reason, key=SCHEDULE) from error


def check_state(file: Path, state: dict[str, Any], optimizer: Optimizer, changed: list[str]) -> None:
    """Raises ConfigError if a new optimizer cannot take a step from the state in the checkpoint."""
    group = optimizer.param_groups[0]
    trial = nn.Parameter(torch.zeros_like(group["params"][0], device="cpu"))
    optimizer.param_groups = [{**group, "params": [trial]}]
    own = {"state": {0: state["state"].get(0, {})}, "param_groups": [{"params": [0]}]}
    trial.grad = torch.zeros_like(trial)
    try:
        optimizer.load_state_dict(with_settings_of(optimizer, own))
        optimizer.step()
    except Exception as error:  # whatever an optimizer misses in a state that is not its own
        raise ConfigError(
            f"{type(optimizer).__name__} with these settings cannot continue from its state in {file} "
            f"({first_words(error)}); use those of its run",
            key=changed[0] if len(changed) == 1 else "model.optimizer",
        ) from error
