"""Speed changes how kernels are chosen, and nothing else."""

import csv

import pytest
import torch
from torch import nn

from lit_diffusion.callbacks import speed
from tests.conftest import CONFIGS, TINY

STEPS = ["--trainer.max_steps=6", "--trainer.val_check_interval=3", "--model.reverse.network.dropout=0.1"]


class Small(nn.Module):
    """Two layers with dropout between them: quickly compiled."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.hidden, self.head = nn.Conv2d(inputs, 4, 3, padding=1), nn.Conv2d(4, outputs, 1)

    def forward(self, x, t):
        return self.head(nn.functional.dropout(self.hidden(x) * t[:, None, None, None], 0.1, self.training))


def losses(run) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(value) for row in csv.DictReader(file) for value in (row["train/loss"], row["val/loss"]) if value]


def test_compiled_equals_eager_before_and_after_resuming(command, tmp_path):
    """Losses with dropout, 1e-4, of a run that begins eager, goes on compiled and ends eager; names of weights stay."""
    short = [*STEPS[:2], "--model.reverse.network=tests.callbacks.test_speed.Small"]
    command("fit", *TINY, *short, "--run.name=eager")
    command("fit", *TINY, *short, "--run.name=compiled", "--trainer.max_steps=2")
    for mode, steps in (("default", 4), ("off", 6)):
        resumed = ["-c", "runs/compiled/config.yaml", "--ckpt_path=last"]
        command("fit", *resumed, f"--trainer.max_steps={steps}", f"--speed.compile={mode}")
    eager = tmp_path / "runs/eager"
    assert len(losses(eager)) == 8
    assert losses(tmp_path / "runs/compiled") == pytest.approx(losses(eager), rel=1e-4)
    one, other = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in (eager, tmp_path / "runs/compiled")
    )
    assert one.keys() == other.keys()


def test_channels_last_equals_contiguous(command, toy_run, tmp_path):
    eager = toy_run(*STEPS)
    command("fit", *TINY, *STEPS, "--speed.memory_format=channels_last", "--run.name=x")
    assert losses(tmp_path / "runs/x") == pytest.approx(losses(eager), rel=1e-4)


def test_a_compiler_that_fails_is_one_line_and_eager_mode(command, toy_run, tmp_path, monkeypatch, capsys):
    def broken(*arguments, **options):
        raise RuntimeError("no C++ compiler\nand more lines")

    eager = toy_run(*STEPS)
    monkeypatch.setattr(torch, "compile", broken)
    command("fit", *TINY, *STEPS, "--speed.compile=default", "--run.name=x")
    said = "speed.compile: cannot compile here (no C++ compiler); continuing in eager mode\n"
    assert capsys.readouterr().err.count(said) == 1
    assert losses(tmp_path / "runs/x") == losses(eager)


def test_the_modes_of_gpus_stay_eager_elsewhere(command, toy_run, tmp_path, capsys):
    """The overlay for GPUs, whose other settings a CPU has too."""
    eager = toy_run(*STEPS, "--trainer.precision=bf16-mixed")
    command("fit", *TINY, "-c", f"{CONFIGS}/speed/cuda.yaml", *STEPS, "--run.name=x")
    said = "speed.compile: reduce-overhead is for GPUs of NVIDIA, and this run is on cpu (--speed.compile=default "
    assert said in capsys.readouterr().err
    assert losses(tmp_path / "runs/x") == losses(eager)


def test_batches_of_other_sizes_are_not_compiled(monkeypatch):
    """So that an incomplete batch costs no compilation."""
    monkeypatch.setattr(torch, "compile", lambda forward, **options: lambda x, t: x + t)
    forward = speed.CompiledForward(lambda x, t: x - t, "default", {4})
    assert forward(torch.zeros(4), torch.ones(1)).tolist() == [1.0] * 4
    assert forward(torch.zeros(3), torch.ones(1)).tolist() == [-1.0] * 3


@pytest.mark.parametrize(
    "options, message",
    [
        (["--speed.compile=fast"], "speed.compile"),
        (
            ["--speed.compile=reduce-overhead", "--trainer.accumulate_grad_batches=2"],
            "speed.compile: reduce-overhead reuses the memory of gradients, which "
            "trainer.accumulate_grad_batches=2 would add up; use default",
        ),
    ],
)
def test_what_cannot_be_sped_up_is_refused(command, options, message):
    from lit_diffusion.errors import ConfigError

    with pytest.raises(ConfigError, match=message):
        command("fit", *TINY, *STEPS, *options)


def test_a_fused_optimizer_clips_gradients_in_bf16(command, tmp_path):
    """The same steps as Adam in several kernels; Lightning refuses the combination."""
    weights = []
    for fused in ("true", "false"):
        options = [
            "--trainer.precision=bf16-mixed",
            "--trainer.gradient_clip_val=0.1",
            f"--model.optimizer.fused={fused}",
        ]
        command("fit", *TINY, *STEPS, *options, f"--run.name={fused}")
        path = tmp_path / f"runs/{fused}/checkpoints/last.ckpt"
        weights.append(torch.load(path, weights_only=True)["current_model_state"])
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_the_overlays_keep_the_recipe(parse, name):
    """Only `fused`, precision and speed differ: the learning rate stays that of the configuration."""
    cli = parse("-c", f"{CONFIGS}/cifar10.yaml", "-c", f"{CONFIGS}/speed/{name}.yaml", "--trainer.accelerator=cpu")
    optimizer = cli.model.optimizer(cli.model.parameters())
    assert (optimizer.defaults["lr"], optimizer.defaults["fused"]) == (2e-4, True)
    assert cli.trainer.precision == "bf16-mixed"
