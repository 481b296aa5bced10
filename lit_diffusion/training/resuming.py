"""A resumed run takes its states from the checkpoint and its settings from the configuration."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from lightning.pytorch import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lit_diffusion.callbacks import Checkpoints, RunSummary
from lit_diffusion.callbacks.lookup import callbacks_of, find_callback
from lit_diffusion.config.keys import is_within
from lit_diffusion.config.relevance import affects_scores
from lit_diffusion.runs.notice import notice
from lit_diffusion.training.lightning_internals import wrap_restoring
from lit_diffusion.training.schedule_check import SCHEDULE, follow

MEASURE = ("model.reverse", "data", "trainer.precision")  # what numbers of two models must have in common to compare
OF_LOSS = ("model.objective", "trainer.limit_val_batches")
OF_SCORE = ("model.sampler", *(f"scores.{name}" for name in ("features", "protocol", "track_samples", "track_sampler")))
OF_TRAINING = ("data.batch_size", "data.flip", "data.seed")
PLATEAU_STATE = ("num_bad_epochs", "cooldown_counter", "last_epoch", "best")


def keep_settings(trainer: Trainer) -> None:
    """While a checkpoint is restored, whatever it holds of settings gives way to the configuration's."""

    def wrap(restore: Callable[..., None]) -> Callable[..., None]:
        def restored(*arguments: Any, **options: Any) -> None:
            with callbacks_kept(trainer), scaler_kept(trainer), optimizers_kept(trainer):
                restore(*arguments, **options)

        return restored

    wrap_restoring(trainer, wrap)


def changes(trainer: Trainer, *keys: str) -> list[str]:
    """Which settings at or below these keys differ from the checkpoint's; the keys themselves if it holds none."""
    summary = find_callback(trainer, RunSummary)
    return summary.changes(*keys) if summary else [*keys]


@contextmanager
def callbacks_kept(trainer: Trainer) -> Iterator[None]:
    """Callbacks keep what their constructors were given, such as the patience of EarlyStopping, if that has changed;
    the best step so far is forgotten if what it was measured by has changed.
    """
    own = [(vars(callback), settings_of(callback)) for callback in callbacks_of(trainer)]
    yield
    if changes(trainer, "trainer.callbacks"):
        for attributes, settings in own:
            attributes.update(settings)
    checkpoints, summary = find_callback(trainer, Checkpoints), find_callback(trainer, RunSummary)
    if checkpoints and checkpoints.best is not None and summary and summary.loaded:
        keys = (*MEASURE, *(OF_LOSS if checkpoints.monitor == "val/loss" else OF_SCORE))
        other = [key for key in summary.changes(*keys) if affects_scores(key) and not is_within(key, OF_TRAINING)]
        if other and trainer.state.fn == "fit":
            checkpoints.best = None
            notice(f"best.ckpt is chosen anew from here on, since {other[0]} differs from the checkpoint's")


def settings_of(thing: object) -> dict[str, Any]:
    """The attributes that are named like parameters of the constructor."""
    return {name: vars(thing)[name] for name in inspect.signature(type(thing)).parameters if name in vars(thing)}


@contextmanager
def scaler_kept(trainer: Trainer) -> Iterator[None]:
    """The scaler of 16-bit gradients keeps its factors and interval; its current scale is a state."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is None:
        yield
        return
    growth, backoff, interval = (
        scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()
    )  # fmt: skip
    yield
    scaler.set_growth_factor(growth)
    scaler.set_backoff_factor(backoff)
    scaler.set_growth_interval(interval)


@contextmanager
def optimizers_kept(trainer: Trainer) -> Iterator[None]:
    """If settings of the model have changed, optimizers keep theirs, and each schedule is followed anew up to the step
    of the checkpoint, whose state, perhaps of another class, is not read. Otherwise both are restored as they are,
    whatever a schedule depends on.
    """
    changed = changes(trainer, "model") if trainer.optimizers else []
    if not changed:
        yield
        return
    saved: list[list[dict[str, Any]]] = []

    def with_own_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        saved.append(state["param_groups"])
        return with_settings_of(optimizer, state)

    hooks = [optimizer.register_load_state_dict_pre_hook(with_own_settings) for optimizer in trainer.optimizers]
    schedules = trainer.strategy.lr_scheduler_configs
    plateaus = [one for one in schedules if isinstance(one.scheduler, ReduceLROnPlateau) and SCHEDULE not in changed]
    fresh = [one.scheduler.state_dict() for one in plateaus]
    trainer.strategy.lr_scheduler_configs = plateaus  # those whose state is read
    try:
        yield
    finally:
        trainer.strategy.lr_scheduler_configs = schedules
        for hook in hooks:
            hook.remove()
    for one, state, groups in zip(plateaus, fresh, saved):
        go_on_from_plateau(cast(ReduceLROnPlateau, one.scheduler), state, groups)
    for one in schedules:
        if not isinstance(one.scheduler, ReduceLROnPlateau):
            follow(one.scheduler, trainer.global_step)


def with_settings_of(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state of an optimizer with the settings of this one."""
    groups = [
        {**ours, "params": theirs["params"]} for ours, theirs in zip(optimizer.param_groups, state["param_groups"])
    ]
    return {**state, "param_groups": groups}


def go_on_from_plateau(schedule: ReduceLROnPlateau, fresh: dict[str, Any], groups: list[dict[str, Any]]) -> None:
    """This schedule depends on the losses so far: their state is kept, and by how much the rate of each of the saved
    `groups` has been reduced.
    """
    kept = PLATEAU_STATE if schedule.mode == fresh["mode"] else PLATEAU_STATE[:-1]
    loaded = {name: getattr(schedule, name) for name in kept}
    for ours, theirs in zip(schedule.optimizer.param_groups, groups):
        ours["lr"] *= theirs["lr"] / theirs.get("initial_lr", theirs["lr"])
    rates = [group["lr"] for group in schedule.optimizer.param_groups]
    schedule.load_state_dict({**fresh, **loaded, "_last_lr": rates})
