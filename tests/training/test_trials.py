"""Trials in seconds: `configs/quick.yaml`, and `trainer.fast_dev_run`, which leaves nothing behind."""

import json
import tempfile
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from lit_diffusion.callbacks.generation_metrics import GenerationMetrics
from lit_diffusion.diffusion import AncestralSampler
from lit_diffusion.errors import ConfigError
from tests.conftest import CONFIGS, TINY

QUICK = f"{CONFIGS}/quick.yaml"
SEEN: dict[str, object] = {}


class Probe(Callback):
    """What a trial has in its folder at its end."""

    def on_fit_end(self, trainer, pl_module):
        folder = Path(trainer.default_root_dir)
        SEEN.update(step=trainer.global_step, loss=trainer.callback_metrics["val/loss"].item(), folder=folder)
        SEEN["files"] = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}


@pytest.fixture
def chains(monkeypatch):
    """(images, steps) of each chain that is drawn."""
    drawn, chain = [], AncestralSampler.chain

    def spy(self, reverse, x_T, generator):
        drawn.append((len(x_T), len(self.subset(reverse.process.schedule))))
        return chain(self, reverse, x_T, generator)

    monkeypatch.setattr(AncestralSampler, "chain", spy)
    return drawn


def test_fast_dev_run_is_a_step_a_validation_and_two_samples_and_leaves_nothing(command, chains, tmp_path, monkeypatch):
    """Whatever is scored, drawn and logged otherwise; W&B is not asked either."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    options = [
        option for option in TINY if not option.startswith(("--scores", "--bits", "--trainer.logger", "--grids"))
    ]
    much = [
        "--model.reverse.process.schedule.num_steps=50",
        "--parzen.num_samples=100",
        "--trainer.logger.offline=false",
    ]
    command("fit", *options, *much, "--trainer.fast_dev_run=true", f"--trainer.callbacks+={__name__}.Probe")
    assert (SEEN["step"], chains) == (1, [(2, 10)]) and SEEN["loss"] > 0
    assert {"checkpoints/last.ckpt", "config.yaml", "samples/00000001_samples.png"} <= SEEN["files"]
    assert SEEN["folder"].is_relative_to(tmp_path / "temporary")
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]


def test_a_trial_that_fails_leaves_nothing_either(command, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(ConfigError, match="batch_size"):
        command("fit", *TINY, "--trainer.fast_dev_run=true", "--data.batch_size=5000")
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]


@pytest.mark.parametrize(
    "name, said",
    [
        ("test", "trainer.fast_dev_run: expected false in test; use fewer samples, such as --scores.num_samples=10"),
        ("fit", "trainer.fast_dev_run: expected no checkpoint, as a trial starts at step 0; omit ckpt_path"),
    ],
)
def test_only_a_new_fit_has_a_trial(command, name, said):
    with pytest.raises(ConfigError, match=f"^command line: {said}"):
        command(name, *TINY, "--ckpt_path=last", "--trainer.fast_dev_run=true")


@pytest.mark.parametrize("name", ["digits", "swiss_roll", "heartbeat"])
def test_quick_makes_any_experiment_a_trial(name, command, chains, tmp_path):
    """With its own model and data: 20 steps, two pictures of eight samples over 20 steps, nothing scored."""
    command("fit", "-c", f"{CONFIGS}/{name}.yaml", "-c", QUICK, "--run.name=here", "--trainer.accelerator=cpu")
    run = tmp_path / "runs/here"
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["step"], summary["scores"]) == ("finished", 20, {})
    assert chains == [(8, 20), (8, 20)]
    assert len(list((run / "samples").glob("*_samples.png"))) == 2 and not (run / "wandb").exists()


def test_quick_needs_neither_an_account_nor_inception(parse):
    cli = parse("-c", f"{CONFIGS}/cifar10.yaml", "-c", QUICK)
    assert not any(isinstance(one, CSVLogger) or "wandb" in type(one).__module__ for one in cli.trainer.loggers)
    scores = next(one for one in cli.trainer.callbacks if isinstance(one, GenerationMetrics))
    assert not scores.runs_in("fit") and cli.trainer.max_steps == 20
