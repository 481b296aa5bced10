"""A learning-rate schedule is followed to the end of the run before the run starts: some refuse to go further."""

import warnings

from lightning.pytorch import Trainer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_diffusion.data import ImageData
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.modules import GenerativeModule, LossModule

SCHEDULE = "model.lr_schedule"
FIRST = 1000  # steps that are taken one by one; a schedule of torch is a formula of the step, or never ends


def check_schedule(trainer: Trainer, model: GenerativeModule, data: ImageData) -> None:
    """Raises ConfigError unless a model's schedule can be built, and lasts as long as the run if that is known."""
    if not isinstance(model, LossModule):
        return
    schedule = build(model)
    if isinstance(schedule, ReduceLROnPlateau) or not (steps := last_step(trainer, data)):
        return
    try:
        follow(schedule, min(steps, FIRST))
        if steps > FIRST:
            schedule.last_epoch = steps - 1
            follow(schedule, 1)
    except Exception:  # of any kind, from any schedule
        schedule = build(model)
        for step in range(1, steps + 1):
            try:
                follow(schedule, 1)
            except Exception as error:
                instead = f"a longer one, or --trainer.max_steps={step - 1}" if step > 1 else "other settings"
                raise ConfigError(
                    f"expected a schedule of {steps} steps or more, the length of the run; {type(schedule).__name__} "
                    f"cannot take step {step} ({first_words(error)}); use {instead}",
                    key=SCHEDULE,
                ) from error


def build(model: LossModule) -> LRScheduler | ReduceLROnPlateau:
    """A schedule that moves nothing of the model. Raises ConfigError if its settings are refused."""
    (optimizer,) = model.build_optimizers()
    try:
        schedule = model.lr_schedule(optimizer)
    except ConfigError:
        raise
    except Exception as error:  # of any kind, from any schedule
        raise ConfigError(f"could not be built from these settings: {first_words(error)}", key=SCHEDULE) from error
    if any(group["lr"] < 0 for group in optimizer.param_groups):
        rate = min(group["lr"] for group in optimizer.param_groups)
        raise ConfigError(f"expected learning rates of 0 or more, got {rate:g} at the start", key=SCHEDULE)
    return schedule


def follow(schedule: LRScheduler, steps: int) -> None:
    """Takes a new schedule through so many steps; microseconds each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer takes no steps here
        for _ in range(steps):
            schedule.step()


def last_step(trainer: Trainer, data: ImageData) -> int | None:
    """The step at which the run ends; None if something else than a number of steps or epochs ends it."""
    limits = [] if trainer.max_steps == -1 else [trainer.max_steps]
    if trainer.max_epochs not in (None, -1):
        batches = data.train_dataloader().epoch_batches * trainer.max_epochs
        limits.append(batches // trainer.accumulate_grad_batches)
    return min(limits, default=None)
