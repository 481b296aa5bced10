"""The moving average: its values, and that it never changes places with the raw weights for good."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from lit_diffusion.callbacks import EMA
from tests.conftest import TINY

SHORT = [
    "--trainer.max_steps=4",
    "--trainer.val_check_interval=2",
    "--checkpoint.every_n_steps=1",
    "--checkpoint.keep=null",
    "--ema.decay=0.5",
]


def states(path) -> tuple[dict, dict]:
    """Average and raw weights of a checkpoint."""
    checkpoint = torch.load(path, weights_only=True)
    return checkpoint["state_dict"], checkpoint["current_model_state"]


class FailInValidation(Callback):
    """An error in the middle of the second validation, after a checkpoint was written there."""

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        if trainer.global_step == 4 and not trainer.sanity_checking:
            trainer.save_checkpoint(f"{trainer.default_root_dir}/inside.ckpt")
            raise RuntimeError("in the middle")

    def on_exception(self, trainer, pl_module, exception):
        trainer.save_checkpoint(f"{trainer.default_root_dir}/after.ckpt")


def test_the_average_is_the_recursion_of_the_raw_weights(command, tmp_path):
    """average_1 = weights_1; average_n = 0.5 average_{n-1} + 0.5 weights_n, validation in between or not."""
    command("fit", *TINY, *SHORT, "--run.name=x")
    expected = None
    for step in range(1, 5):
        average, raw = states(tmp_path / f"runs/x/checkpoints/step={step}.ckpt")
        expected = dict(raw) if step == 1 else {n: 0.5 * expected[n] + 0.5 * raw[n] for n in raw}
        for name, value in average.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
    assert any(not torch.equal(average[n], raw[n]) for n in raw)


def test_an_error_in_validation_leaves_average_and_raw_weights_in_their_places(command, tmp_path):
    """Checkpoints from inside the validation and from after its failure hold both sets as the last good one does."""
    failing = "--trainer.callbacks=tests.callbacks.test_ema.FailInValidation"
    with pytest.raises(RuntimeError, match="in the middle"):
        command("fit", *TINY, *SHORT, failing, "--run.name=x")
    good = states(tmp_path / "runs/x/checkpoints/step=4.ckpt")
    for name in ("inside", "after"):
        for kind, expected in zip(states(tmp_path / f"runs/x/{name}.ckpt"), good):
            assert all(torch.equal(kind[key], expected[key]) for key in expected)


def test_a_decay_of_zero_is_the_raw_weights(command, tmp_path):
    """What `--ema.decay=0` promises."""
    command("fit", *TINY, *SHORT[:3], "--ema.decay=0", "--run.name=x")
    average, raw = states(tmp_path / "runs/x/checkpoints/last.ckpt")
    assert all(torch.equal(average[name], raw[name]) for name in raw)


@pytest.mark.parametrize(
    ("decay", "steps", "said"),
    [(0.9999, 400, "96%"), (0.9999, 30_000, ""), (0.995, 40, "82%"), (0.9, 1, ""), (0.5, 4, "12%")],
)
def test_an_average_that_is_too_slow_for_its_run_says_so_and_what_to_write(capsys, decay, steps, said):
    """The weights after the first step keep the share decay^(n - 1) after n steps; the advice leaves less than 2%."""
    trainer = SimpleNamespace(estimated_stepping_batches=steps, global_step=0, fast_dev_run=False)
    EMA(decay).on_train_start(trainer, None)
    message = capsys.readouterr().err
    assert said in message and bool(said) == ("ema.decay" in message)
    if said:
        assert float(message.rpartition("use ")[2]) ** (steps - 1) < 0.02


def test_a_run_of_unknown_length_says_so_at_its_end(command, capsys):
    """Its steps are not `to inf`. Three steps leave 0.9^2 of the first weights, which nobody could know before."""
    endless = ["--trainer.max_steps=-1", "--trainer.max_epochs=-1", "--trainer.val_check_interval=3"]
    stops = [f"--trainer.callbacks.{key}" for key in ("monitor=val/loss", "stopping_threshold=1e9")]
    command("fit", *TINY, *endless, "--trainer.callbacks+=EarlyStopping", *stops, "--ema.decay=0.9", "--run.name=x")
    printed = capsys.readouterr()
    assert printed.out.startswith("runs/x: from step 0 until it is stopped, batches of 32") and "inf" not in printed.out
    said = (
        "81% of the average is the weights after the first step, since 3 steps were few for a decay of 0.9; use 0 for"
    )
    assert f"ema.decay: {said} so short a run\n" in printed.err


def test_a_resumed_run_knows_what_is_left_of_the_first_weights(command, toy_run, capsys):
    """Each step has shrunk it by the decay of its time: 0.5^3, then 0.9999^2."""
    run = toy_run(*SHORT)
    capsys.readouterr()
    again = ["-c", str(run / "config.yaml"), "--ckpt_path=last", "--trainer.max_steps=6"]
    command("fit", *again, "--ema.decay=0.9999")
    assert "ema.decay: 12% of the average at the end of training will be" in capsys.readouterr().err
    callbacks = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    assert callbacks["EMA"]["first_share"] == pytest.approx(0.5**3 * 0.9999**2)


class Slope(LightningModule):
    """Fits y = w x; notes the weight that each test sees."""

    def __init__(self):
        super().__init__()
        self.weight, self.tested = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, x, index):
        return ((self.weight - 1) * x).square().mean()

    def test_step(self, x, index):
        self.tested.append(self.weight.item())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_test_after_a_fit_of_the_same_trainer_sees_the_average():
    """Without a checkpoint in between; a second fit continues the average, another module begins one."""
    ema, module, data = EMA(0.5), Slope(), DataLoader(torch.ones(4), batch_size=1)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_steps=3, accelerator="cpu", callbacks=[ema], **quiet)
    raw, average = 0.0, 0.0
    for steps in (3, 6):
        trainer.fit_loop.epoch_loop.max_steps = steps
        trainer.fit(module, data)
        for step in range(steps - 3, steps):
            raw = raw - 0.2 * (raw - 1)
            average = raw if step == 0 else 0.5 * average + 0.5 * raw
        trainer.test(module, data, verbose=False)
        assert module.tested[-1] == pytest.approx(average) and module.weight.item() == pytest.approx(raw)
    other = Slope()
    trainer = Trainer(max_steps=1, accelerator="cpu", callbacks=[ema], **quiet)
    trainer.fit(other, data)
    assert ema.average.module.weight.item() == pytest.approx(0.2) and ema.average.n_averaged == 1
