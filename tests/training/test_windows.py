"""An update of the weights takes a window of k whole batches, wherever an epoch ends and whatever is due within it."""

import pytest
import torch

from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import DiffusionModule
from tests.conftest import TINY
from tests.training.test_going_on import rows
from tests.training.test_training import assert_same_training

EPOCH = 4  # batches
STILL = ["--model.lr_schedule.steps=0", "--model.optimizer.lr=0", "--trainer.gradient_clip_val=null"]
SHORT = [*STILL, f"--trainer.limit_train_batches={EPOCH}", "--trainer.val_check_interval=1000"]
WINDOWS = ["--trainer.accumulate_grad_batches=3", "--trainer.val_check_interval=10", "--checkpoint.every_n_steps=5"]


@pytest.fixture
def gradients(command, monkeypatch):
    """gradients(*OPTIONS): after how many batches each update was made, and its gradient."""
    seen = []

    def note(module: DiffusionModule, _) -> None:
        batches = module.trainer.fit_loop.epoch_loop.total_batch_idx + 1
        seen.append((batches, torch.cat([p.grad.flatten().clone() for p in module.parameters()])))

    monkeypatch.setattr(DiffusionModule, "on_before_optimizer_step", note)

    def run(*options: str) -> list[tuple[int, torch.Tensor]]:
        seen.clear()
        command("fit", *TINY, *SHORT, *options)
        return [*seen]

    return run


@pytest.mark.parametrize("limit", [["--trainer.max_steps=5"], ["--trainer.max_steps=-1", "--trainer.max_epochs=4"]])
def test_the_gradient_of_a_step_is_the_mean_over_its_batches_across_epochs(gradients, limit):
    """3 batches a step, 4 an epoch. Four epochs are 16 batches: five steps, and the last batch is in none."""
    batches = [gradient for _, gradient in gradients("--trainer.max_steps=15")]
    steps = gradients(*limit, "--trainer.accumulate_grad_batches=3")
    assert [after for after, _ in steps] == [3, 6, 9, 12, 15]
    for after, gradient in steps:
        torch.testing.assert_close(gradient, torch.stack(batches[after - 3 : after]).mean(0), rtol=1e-4, atol=1e-6)


def test_windows_that_no_run_can_fill_or_resume_are_refused(command):
    """More batches than there are, and lengths that change."""
    few = ["--trainer.max_steps=-1", "--trainer.max_epochs=2", "--trainer.accumulate_grad_batches=9"]
    with pytest.raises(ConfigError, match="trainer.accumulate_grad_batches: expected at most 8, the number of batches"):
        command("fit", *TINY, *SHORT, *few)
    changing = (
        '--trainer.callbacks={"class_path": "GradientAccumulationScheduler", "init_args": {"scheduling": {"2": 4}}}'
    )
    with pytest.raises(ConfigError, match="trainer.callbacks: .* set trainer.accumulate_grad_batches instead"):
        command("fit", *TINY, changing)


def test_a_trial_of_a_few_batches_fills_its_windows(gradients):
    """`fast_dev_run` takes one step of one batch, whatever the windows are."""
    assert [after for after, _ in gradients("--trainer.accumulate_grad_batches=4", "--trainer.fast_dev_run=true")] == [
        1
    ]


def test_a_validation_within_a_window_waits_for_the_end_of_the_step(toy_run):
    """Every 10 batches, of which 3 make a step: after batches 12, 21 and 30, and so after steps 4, 7 and 10."""
    run = toy_run(*WINDOWS, "--trainer.max_steps=10")
    assert [int(row["step"]) + 1 for row in rows(run) if row["val/loss"]] == [4, 7, 10]


@pytest.mark.parametrize("lost", ["before", "evaluated"])
def test_a_run_killed_around_such_a_validation_goes_on_to_the_same_end(command, toy_run, tmp_path, monkeypatch, lost):
    """Saved after step 4, and killed before or after the validation that was due there since batch 10."""
    whole = toy_run(*WINDOWS, "--trainer.max_steps=10", name="whole")

    class Killed(BaseException):
        pass

    def kill(module: DiffusionModule, *_) -> None:
        if not module.trainer.sanity_checking and module.global_step == 4:
            raise Killed

    options = [*WINDOWS, "--trainer.max_steps=10", "--run.name=here", "--ckpt_path=last"]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(DiffusionModule, "on_validation_start" if lost == "before" else "on_train_batch_start", kill)
        command("fit", *TINY, *options)
    command("fit", *TINY, *options)
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("here", "whole")))
    assert rows(tmp_path / "runs/here") == rows(whole)


def test_a_request_to_stop_waits_for_the_end_of_the_step(command, tmp_path):
    """A loss of NaN in the first batch of a window ends the run when that step is whole."""
    absurd = ["--model.optimizer.lr=1e30", "--divergence.every_n_steps=1", "--trainer.max_steps=9", "--run.name=here"]
    command("fit", *TINY, *WINDOWS, "--model.lr_schedule.steps=0", *absurd, "--trainer.gradient_clip_val=null")
    checkpoint = torch.load(tmp_path / "runs/here/checkpoints/last.ckpt", weights_only=True)
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"]
    assert checkpoint["divergence"]["reason"] and batches == 3 * checkpoint["global_step"] < 27
