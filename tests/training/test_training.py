"""Training from the command line: what a run leaves behind, and that interruption and devices do not change it."""

import csv
import json
import re

import pytest
import torch
import yaml

from lit_diffusion.callbacks import run_summary
from tests.conftest import TINY
from tests.processes import run

# checkpoints and validation within epochs: an epoch has 46 batches
STEPS = ["--trainer.max_steps=12", "--checkpoint.every_n_steps=5", "--trainer.val_check_interval=6"]
DROPOUT = ["--model.reverse.network.dropout=0.3", "--data.flip=true"]


def weights(path) -> dict:
    return torch.load(path, weights_only=True)


def assert_same_training(one, other) -> None:
    """Two checkpoints hold the same weights, average and optimizer state, bit by bit."""
    a, b = weights(one), weights(other)
    for part in ("state_dict", "current_model_state"):
        assert a[part].keys() == b[part].keys()
        for name in a[part]:
            assert torch.equal(a[part][name], b[part][name]), f"{part}: {name}"
    for first, second in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
        for index, state in first["state"].items():
            for name, value in state.items():
                assert torch.equal(value, second["state"][index][name]), f"optimizer: {index} {name}"
    assert a["lr_schedulers"] == b["lr_schedulers"]
    assert a["global_step"] == b["global_step"]


def printed_loss(table: str) -> float:
    return float(re.search(r"val/loss\D*([0-9.]+)", table)[1])


def losses(path) -> dict[int, str]:
    with path.open() as file:
        return {int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]}


def test_a_run_leaves_everything_that_its_folder_promises(command, tmp_path, monkeypatch):
    """config.yaml, metrics.csv, summary.json of schema 1, samples/ and checkpoints/ with last, best and by step. The
    commit is that of the start, whatever is committed while the run trains.
    """
    commits = iter(["of the start", *["of later"] * 100])
    monkeypatch.setattr(run_summary, "git_commit", lambda: next(commits))
    command("fit", *TINY, *STEPS, "--grids.every_n_steps=6", "--grids.num_images=4", "--run.name=here")
    run = tmp_path / "runs/here"
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["schema"], summary["status"], summary["step"], summary["seed"]) == (1, "finished", 12, 0)
    parts = {"schema", "status", "step", "seed", "scores", "facts", "settings", "working_folder", "versions", "git"}
    assert set(summary) == parts | {"seconds"} and summary["facts"]["parameters"] > 1000
    assert summary["working_folder"] == str(tmp_path) and summary["git"] == "of the start"
    assert summary["settings"]["model.reverse.process.schedule"] == "LinearSchedule"
    assert summary["settings"]["model.reverse.process.schedule.num_steps"] == 7
    assert summary["seconds"]["training"] > 0 < summary["seconds"]["sampling"]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "step=10.ckpt",
        "step=5.ckpt",
    ]
    assert weights(run / "checkpoints/last.ckpt")["global_step"] == 12
    pictures = {path.name for path in (run / "samples").iterdir()}
    assert pictures == {"data.png", "forward.png"} | {
        f"{step:08d}_{kind}.png" for step in (6, 12) for kind in ("samples", "chain", "x_0")
    }
    assert sorted(losses(run / "metrics.csv")) == list(range(12))
    assert not list(run.rglob(".*"))  # no temporary file stays


def test_the_saved_configuration_runs_again_to_the_same_weights(command, toy_run, tmp_path):
    """config.yaml alone repeats the run, into a folder of its own."""
    toy_run(*STEPS, name="first")
    command("fit", "-c", "runs/first/config.yaml")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["first", "first-2"]
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("first", "first-2")))
    saved = yaml.safe_load((tmp_path / "runs/first/config.yaml").read_text())
    assert saved["model"]["init_args"]["optimizer"]["init_args"]["betas"] == [0.9, 0.999]  # defaults are spelled out


@pytest.mark.parametrize(
    "objective",
    [[], ["--model.objective=VariationalBound", "--model.objective.timesteps=ImportanceSampled"]],
    ids=["simple", "importance_sampled"],
)
def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(command, tmp_path, objective):
    """Stopped at step 5, in the middle of an epoch, and resumed: weights, EMA, Adam and losses are the same."""
    common = [*TINY, *STEPS, *DROPOUT, *objective]
    command("fit", *common, "--run.name=whole")
    checkpoint = tmp_path / "runs/whole/checkpoints/step=5.ckpt"
    command("fit", *common, "--run.name=resumed", f"--ckpt_path={checkpoint}")
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("whole", "resumed")))
    whole, resumed = (losses(tmp_path / f"runs/{name}/metrics.csv") for name in ("whole", "resumed"))
    assert resumed == {step: loss for step, loss in whole.items() if step >= 5}


def test_pictures_and_validation_do_not_disturb_training(command, tmp_path):
    """With and without sampling and validation in between, the weights are the same."""
    command("fit", *TINY, "--trainer.max_steps=6", *DROPOUT, "--run.name=quiet", "--trainer.limit_val_batches=0")
    busy = ["--trainer.val_check_interval=2", "--grids.every_n_steps=1", "--grids.num_images=2", "--run.name=busy"]
    command("fit", *TINY, "--trainer.max_steps=6", *DROPOUT, *busy)
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("quiet", "busy")))


def test_another_seed_is_another_run(command, tmp_path):
    """The seed reaches initialization, data order and noise."""
    for seed in (0, 1):
        command("fit", *TINY, "--trainer.max_steps=2", f"--seed_everything={seed}", f"--run.name={seed}")
    zero, one = (losses(tmp_path / f"runs/{seed}/metrics.csv") for seed in (0, 1))
    assert zero != one


def test_validation_of_a_checkpoint_gives_the_loss_that_training_logged(command, toy_run, tmp_path, capsys):
    """`lightning validate --ckpt_path last` evaluates the EMA weights, as validation during training did."""
    toy_run(*STEPS)
    logged = [row["val/loss"] for row in csv.DictReader((tmp_path / "runs/here/metrics.csv").open()) if row["val/loss"]]
    capsys.readouterr()
    command("validate", "-c", "runs/here/config.yaml", "--ckpt_path=last")
    assert printed_loss(capsys.readouterr().out) == pytest.approx(float(logged[-1]), rel=1e-6)


CIFAR10_FILES = {  # how each is narrowed
    "cifar10": ["--model.reverse.network.width=32", "--model.reverse.process.schedule.num_steps=4"],
    "cifar10_vae": ["--model.vae.encoder.width=32", "--model.vae.decoder.width=32", "--model.importance_draws=2"],
    "cifar10_gan": ["--model.generator.width=16", "--model.discriminator.width=8"],
}


@pytest.mark.parametrize("name", CIFAR10_FILES)
def test_the_cifar10_experiments_run_on_files_of_torchvisions_format(command, tmp_path, cifar10_files, name):
    """From files on disk, the networks narrowed, the run and its bound shortened, nothing else changed."""
    short = ["--trainer.max_steps=2", "--grids.num_images=2", "--trainer.enable_progress_bar=false", "--run.name=c"]
    short += ["--scores.num_samples=0", "--scores.every_n_steps=0"]  # Inception's weights are not at hand
    short += [
        "--data.batch_size=10",
        *([] if name == "cifar10_gan" else ["--bits_per_dim.terms=2", "--bits_per_dim.splits=[test]"]),
    ]
    short += [] if name == "cifar10" else ["--trainer.logger=false"]
    command("fit", "-c", f"configs/{name}.yaml", f"--data.root={cifar10_files}", *CIFAR10_FILES[name], *short)
    run = tmp_path / "runs/c"
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    assert (run / "samples/00000002_samples.png").exists()
    assert len([*run.glob("wandb/offline-run-*")]) == (name == "cifar10")


@pytest.mark.slow
def test_two_processes_make_one_run_and_one_process_validates_it_to_the_same_loss(tmp_path):
    """DDP over gloo from the command line; the held-out loss does not depend on the number of processes."""
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_steps=4", "--run.name=two"]
    run(["fit", *TINY, *options, "--trainer.val_check_interval=2"], tmp_path, timeout=240).check_returncode()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["two"]
    summary = json.loads((tmp_path / "runs/two/summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("finished", 4)
    saved = weights(tmp_path / "runs/two/checkpoints/last.ckpt")
    assert saved["global_step"] == 4
    losses = []
    for devices in ("1", "2"):
        evaluate = ["validate", "-c", "runs/two/config.yaml", "--ckpt_path=last", f"--trainer.devices={devices}"]
        result = run(evaluate, tmp_path, timeout=240, spares=int(devices) - 1)
        result.check_returncode()
        losses.append(printed_loss(result.stdout))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
