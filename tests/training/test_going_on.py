"""`fit --ckpt_path last` goes on in the folder of its run."""

import csv
import json

import pytest
import torch

from lit_diffusion.callbacks import Checkpoints
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import run_folder
from lit_diffusion.runs.checkpoint_files import newest
from tests.conftest import TINY
from tests.training.test_training import assert_same_training

STEPS = ["--trainer.max_steps=12", "--checkpoint.every_n_steps=5", "--trainer.val_check_interval=4"]
SCORED = [
    "--scores.num_samples=20",
    "--scores.protocol.splits=2",
    "--scores.every_n_steps=4",
    "--scores.track_samples=20",
]


def rows(run) -> list[dict[str, str]]:
    """metrics.csv without the speed, which is another every time."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{key: row[key] for key in sorted(row) if key != "images_per_second"} for row in csv.DictReader(file)]


@pytest.fixture
def run(toy_run):
    """A finished run."""
    return toy_run(*STEPS, *SCORED)


def test_a_run_goes_on_in_its_own_folder_to_the_same_end(command, run):
    """As after a death at step 11: weights, scores and metrics are those of the unbroken run, each once."""
    scores, metrics = json.loads((run / "summary.json").read_text())["scores"], rows(run)
    weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    (run / "checkpoints/last.ckpt").write_bytes(b"")
    command("fit", "-c", str(run / "config.yaml"), "--ckpt_path=last")
    assert [path.name for path in run.parent.iterdir()] == ["here"]
    assert json.loads((run / "summary.json").read_text())["scores"] == scores
    assert rows(run) == metrics
    again = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_run_that_died_before_its_scores_gets_them(command, run):
    """last.ckpt is of the last step: nothing is left to train, and the end is scored all the same."""
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "status": "running", "scores": {}}))
    command("fit", "-c", str(run / "config.yaml"), "--ckpt_path=last")
    again = json.loads((run / "summary.json").read_text())
    assert (again["status"], again["step"]) == ("finished", 12)
    assert {name: again["scores"][name] for name in ("fid", "kid")} == {n: summary["scores"][n] for n in ("fid", "kid")}


def test_the_newest_whole_checkpoint_is_the_last(run, capsys):
    """By steps, whatever the clock says; what is damaged is named."""
    folder = run / "checkpoints"
    assert newest(folder) == folder / "last.ckpt"
    (folder / "best.ckpt").unlink()
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:1000])
    assert newest(folder) == folder / "step=10.ckpt"
    assert "last.ckpt is damaged or not a checkpoint of lit_diffusion; skipped" in capsys.readouterr().err
    for path in folder.glob("step=*.ckpt"):
        path.unlink()
    assert newest(folder) is None


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(command, tmp_path, run, capsys):
    """In its own folder. One that has not begun begins: a job on a cluster has one command for all its lives."""
    weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    metrics = rows(run)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    (run / "checkpoints/.last.0123abcd.unfinished.ckpt").touch()
    for name in ("here", "there"):
        command("fit", *TINY, *STEPS, *SCORED, f"--run.name={name}", "--ckpt_path=last")
        assert f"runs/{name} has no checkpoint yet; training starts at step 0" in capsys.readouterr().err
        again = torch.load(tmp_path / f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        assert all(torch.equal(again[key], weights[key]) for key in weights)
        assert rows(tmp_path / f"runs/{name}") == metrics
    assert not list((run / "checkpoints").glob(".*"))
    assert sorted(path.name for path in run.parent.iterdir()) == ["here", "there"]


def test_a_folder_that_another_process_writes_to_is_left_alone(command, run):
    """Two lives of one run would overwrite each other."""
    run_folder.hold(run)
    with pytest.raises(ConfigError, match="runs/here is in use by another process"):
        command("fit", "-c", str(run / "config.yaml"), "--ckpt_path=last")
    run_folder.release(run, remove=False)
    command("fit", "-c", str(run / "config.yaml"), "--ckpt_path=last")


def test_another_checkpoint_starts_a_folder_of_its_own(command, run):
    """A file that is named is where something new begins."""
    command("fit", "-c", str(run / "config.yaml"), f"--ckpt_path={run}/checkpoints/step=5.ckpt")
    assert sorted(path.name for path in run.parent.iterdir()) == ["here", "here-2"]


def test_a_run_goes_on_where_its_configuration_lies(command, tmp_path, run, monkeypatch):
    """Also from another folder, and when it has been moved; nothing begins in its old place."""
    moved = tmp_path / "kept/moved"
    moved.parent.mkdir()
    run.rename(moved)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    command("fit", "-c", str(moved / "config.yaml"), "--ckpt_path=last", "--trainer.max_steps=14")
    assert torch.load(moved / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 14
    assert not (tmp_path / "elsewhere/runs").exists() and not any(run.parent.iterdir())


def test_what_has_diverged_stays_so(command, tmp_path):
    """A run that is resumed without a look at what became of it trains no further."""
    absurd = ["--model.optimizer.lr=1e6", "--trainer.gradient_clip_val=null", "--divergence.every_n_steps=5"]
    for _ in range(2):
        command("fit", *TINY, *absurd, "--trainer.max_steps=40", "--run.name=here", "--ckpt_path=last")
        summary = json.loads((tmp_path / "runs/here/summary.json").read_text())
        assert summary["status"] == "diverged" and summary["step"] < 20 and "the loss" in summary["reason"]


@pytest.mark.parametrize(
    ("steps", "options"),  # an epoch has 11 batches
    [
        (12, ["--model.lr_schedule=torch.optim.lr_scheduler.OneCycleLR", "--model.lr_schedule.max_lr=0.01",
         "--model.lr_schedule.total_steps=60"]),
        (4, ["--trainer.accumulate_grad_batches=3"]),
        (12, ["--trainer.val_check_interval=1", "--checkpoint.every_minutes=0"]),
    ],
)  # fmt: skip
def test_a_run_goes_on_past_its_end(command, tmp_path, steps, options):
    """With more steps than it had: to the bits, and the rows, of a run that had them from the start."""
    tiny = [*(option for option in TINY if "lr_schedule" not in option), "--data.batch_size=128"]
    for name, end in (("twice", steps), ("twice", steps + 3), ("once", steps + 3)):
        command("fit", *tiny, *options, f"--trainer.max_steps={end}", f"--run.name={name}", "--ckpt_path=last")
    ours, theirs = (tmp_path / f"runs/{name}" for name in ("twice", "once"))
    assert_same_training(*(folder / "checkpoints/last.ckpt" for folder in (ours, theirs)))
    assert rows(ours) == rows(theirs)


def test_an_epoch_is_saved_where_it_ends_only_if_a_save_is_due(command, tmp_path, monkeypatch):
    """46 batches an epoch: at steps 40 and 80 and at the end, not at 46 and 92."""
    saved = []
    monkeypatch.setattr(Checkpoints, "save", lambda self, trainer: saved.append(trainer.global_step))
    steps = ["--trainer.max_steps=95", "--trainer.val_check_interval=1000", "--checkpoint.every_n_steps=40"]
    command("fit", *TINY, *steps, "--run.name=here")
    assert saved == [40, 80, 95, 95]


@pytest.mark.parametrize(("keep", "kept"), [("1", [6]), ("2", [5, 6]), ("null", [1, 2, 3, 4, 5, 6]), ("0", [])])
def test_the_newest_files_of_steps_are_kept(toy_run, keep, kept):
    """`checkpoint.keep` of them, all for null, none for 0; last.ckpt is always there."""
    run = toy_run("--trainer.max_steps=6", "--checkpoint.every_n_steps=1", f"--checkpoint.keep={keep}")
    assert sorted(run.glob("checkpoints/step=*.ckpt")) == [run / f"checkpoints/step={step}.ckpt" for step in kept]
    assert (run / "checkpoints/last.ckpt").exists()
