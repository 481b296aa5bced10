"""A learning-rate schedule that cannot accompany its run to the end is refused before the run starts."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.optim import Adam, lr_scheduler

from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import DiffusionModule
from lit_diffusion.training.schedule_check import check_schedule
from tests.conftest import TINY

ONE_CYCLE = [f"--model.lr_schedule{key}" for key in ("=torch.optim.lr_scheduler.OneCycleLR", ".max_lr=0.01")]
WITHOUT_SCHEDULE = [option for option in TINY if "lr_schedule" not in option]


def check(schedule, max_steps=-1, max_epochs=None, window=1) -> None:
    """For a model of one weight, and epochs of five batches."""
    trainer = SimpleNamespace(max_steps=max_steps, max_epochs=max_epochs, accumulate_grad_batches=window)
    data = SimpleNamespace(train_dataloader=lambda: SimpleNamespace(epoch_batches=5))
    model = DiffusionModule.__new__(DiffusionModule)
    torch.nn.Module.__init__(model)
    model.weight, model.optimizer, model.lr_schedule = torch.nn.Parameter(torch.ones(1)), Adam, schedule
    check_schedule(trainer, model, data)


def one_cycle(total_steps, max_lr=0.01):
    return partial(lr_scheduler.OneCycleLR, max_lr=max_lr, total_steps=total_steps)


@pytest.mark.parametrize(
    ("run", "steps"),
    [
        ({"max_steps": 20}, 20),
        ({"max_steps": 2_500}, 2_500),
        ({"max_epochs": 4, "window": 3}, 6),
        ({"max_steps": 5, "max_epochs": 4}, 5),
    ],
)
def test_a_schedule_must_last_as_long_as_its_run(run, steps):
    """As long is enough; a step less is refused, with the step at which it ends. Epochs count as steps."""
    check(one_cycle(steps), **run)
    ends = (
        f"of {steps} steps or more, .* OneCycleLR cannot take step {steps} .*; use .*--trainer.max_steps={steps - 1}$"
    )
    with pytest.raises(ConfigError, match=ends) as refused:
        check(one_cycle(steps - 1), **run)
    assert refused.value.key == "model.lr_schedule"
    check(one_cycle(steps - 1), max_steps=-1, max_epochs=-1)  # time ends it, or a callback: who knows when


class Counting(lr_scheduler.LRScheduler):
    """A schedule that goes by the number of its calls, as one of a user may."""

    def get_lr(self):
        if not self.last_epoch <= getattr(self, "calls", 0) + 1:
            raise ValueError("a step has been left out")
        self.calls = getattr(self, "calls", -1) + 1
        return self.base_lrs


@pytest.mark.parametrize(
    "schedule",
    [
        Counting,
        partial(lr_scheduler.CosineAnnealingLR, T_max=7),
        partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3),
        partial(lr_scheduler.CyclicLR, base_lr=0, max_lr=1),
        partial(lr_scheduler.ReduceLROnPlateau, patience=2),
    ],
)
def test_schedules_without_an_end_are_accepted(schedule):
    """Also those that do not bear the short cut to the last step."""
    check(schedule, max_steps=1_500)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (
            partial(lr_scheduler.ReduceLROnPlateau, factor=2.0),
            "could not be built .*: ValueError: Factor should be < 1",
        ),
        (one_cycle(20, max_lr=-1.0), "expected learning rates of 0 or more, got -0.04 at the start"),
        (partial(lr_scheduler.StepLR, step_size=0), "StepLR cannot take step 1 .ZeroDivisionError"),
    ],
)
def test_settings_that_a_schedule_refuses_are_its_own(schedule, said):
    """One line with its key, whatever it raises."""
    with pytest.raises(ConfigError, match=said) as refused:
        check(schedule, max_steps=10)
    assert refused.value.key == "model.lr_schedule"


def test_a_run_that_outlasts_its_schedule_is_refused_before_it_starts(command, tmp_path):
    """Also a finished one that is resumed with more steps. If nobody could know, it ends with one line there."""
    cycle = [*WITHOUT_SCHEDULE, *ONE_CYCLE, "--model.lr_schedule.total_steps=3", "--run.name=here"]
    with pytest.raises(ConfigError, match="command line: model.lr_schedule: expected a schedule of 4 steps or more"):
        command("fit", *cycle, "--trainer.max_steps=4")
    assert not (tmp_path / "runs/here").exists()
    with pytest.raises(
        ConfigError, match="command line: model.lr_schedule: OneCycleLR ends at step 4 .*; use a longer"
    ):
        command(
            "fit", *cycle, "--trainer.max_steps=-1", "--trainer.max_time=00:01:00:00", "--checkpoint.every_n_steps=3"
        )
    before = (tmp_path / "runs/here/config.yaml").read_text()
    again = ["-c", "runs/here/config.yaml", "--ckpt_path=last"]
    with pytest.raises(ConfigError, match="model.lr_schedule: expected a schedule of 6 steps or more"):
        command("fit", *again, "--trainer.max_steps=6")
    assert (tmp_path / "runs/here/config.yaml").read_text() == before
    assert torch.load(tmp_path / "runs/here/checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
