"""What a machine does to a run: full and read-only disks, clocks that go backwards, no network, data that vanish."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from PIL import Image

from lit_diffusion.callbacks.checkpoints import steps_in
from lit_diffusion.errors import ConfigError
from tests.conftest import TINY
from tests.processes import run

pytestmark = pytest.mark.slow

LONG = ["--trainer.max_steps=200", "--trainer.val_check_interval=100000"]


@pytest.fixture
def disk(tmp_path):
    """Mounts a disk of so many MiB: disk(14) is its folder."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder)], capture_output=True
        )
        if made.returncode:
            pytest.skip("only root may mount a disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_with_room_it_goes_on(command, tmp_path, disk):
    """The checkpoints that are there stay whole; the end is that of a run that never stopped."""
    folder = disk(14)
    filling = [f"--run.dir={folder}", "--run.name=here", "--checkpoint.every_n_steps=5", "--checkpoint.keep=null"]
    large = [*TINY, *LONG, "--trainer.max_steps=100", "--model.reverse.network.width=16"]
    with pytest.raises(ConfigError, match="no space left on the disk of .*here; free some space, or set another"):
        command("fit", *large, *filling)
    summary = json.loads((folder / "here/summary.json").read_text())
    assert summary["status"] == "failed" and "No space left" in summary["reason"]
    assert not list((folder / "here").rglob(".*unfinished*"))
    for _, file in sorted(steps_in(folder / "here/checkpoints"))[:-2]:
        file.unlink()
    command("fit", *large, *filling, "--checkpoint.keep=1", "--ckpt_path=last")
    command("fit", *large, "--run.name=whole")
    ours, theirs = weights(folder / "here"), weights(tmp_path / "runs/whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_disk_that_becomes_read_only_is_one_line(command, disk):
    folder = disk(20)
    command("fit", *TINY, *LONG, "--trainer.max_steps=3", f"--run.dir={folder}", "--run.name=here")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for name, options in (("there", []), ("here", ["--ckpt_path=last"])):
        with pytest.raises(ConfigError, match="cannot write .*Read-only file system.*set run.dir to a folder"):
            command("fit", *TINY, *LONG, f"--run.dir={folder}", f"--run.name={name}", *options)


def test_a_clock_that_goes_backwards_changes_nothing(command, tmp_path, monkeypatch):
    """Checkpoints by the minute are due by another clock, and the newest is that of the most steps."""
    command("fit", *TINY, *LONG, "--trainer.max_steps=12", "--run.name=whole")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86_400 * time.monotonic())
    steps = ["--trainer.max_steps=6", "--checkpoint.every_minutes=0", "--checkpoint.every_n_steps=4"]
    command("fit", *TINY, *LONG, *steps, "--run.name=here")
    checkpoints = tmp_path / "runs/here/checkpoints"
    assert (checkpoints / "step=4.ckpt").exists()
    command("fit", *TINY, *LONG, "--trainer.max_steps=12", "--run.name=here", "--ckpt_path=last")
    ours, theirs = weights(tmp_path / "runs/here"), weights(tmp_path / "runs/whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_a_network_an_online_run_is_logged_offline_and_says_so_once(tmp_path):
    """No minutes of waiting; what goes on in the folder goes on as the same run of W&B."""
    environment = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "a" * 40, "WANDB_MODE": "online"}
    online = [*(option for option in TINY if "logger" not in option), "--trainer.logger.offline=false"]
    for steps, more in ((3, []), (5, ["--ckpt_path=last"])):
        options = [*online, f"--trainer.max_steps={steps}", "--run.name=here", *more]
        done = run(["fit", *options], tmp_path, environment, timeout=240)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("W&B does not answer at http://127.0.0.1:9; logging offline") == 1
    ids = {path.name.rpartition("-")[2] for path in (tmp_path / "runs/here/wandb").glob("offline-run-*")}
    assert len(ids) == 1
    assert json.loads((tmp_path / "runs/here/summary.json").read_text())["status"] == "finished"


def test_data_that_vanish_end_the_run_in_one_line_and_once_they_are_back_it_goes_on(command, tmp_path):
    """Images too many for memory, read as they are needed, whose folder is gone in the middle."""
    chance = np.random.default_rng(0)
    for index in range(64):
        (tmp_path / "data").mkdir(exist_ok=True)
        pixels = chance.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"data/{index:02}.png")
    options = ["--data=ImageFolder", "--data.root=data", "--data.size=8", "--data.channels=1", "--data.cache_bytes=0"]
    options += ["--model.reverse.decoder.num_levels=256", "--checkpoint.every_n_steps=5"]
    options += [*LONG, "--trainer.max_steps=30"]
    options += ["--trainer.callbacks+=tests.faults.test_surroundings.Vanishing"]
    with pytest.raises(ConfigError, match=r"data[/.].*"):
        command("fit", *TINY, *options, "--run.name=here")
    shutil.move(tmp_path / "gone", tmp_path / "data")
    assert json.loads((tmp_path / "runs/here/summary.json").read_text())["status"] == "failed"
    for name, more in (("here", ["--ckpt_path=last"]), ("whole", [])):
        command("fit", *TINY, *options[:-1], f"--run.name={name}", *more)
    ours, theirs = weights(tmp_path / "runs/here"), weights(tmp_path / "runs/whole")
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


class Vanishing(Callback):
    """Moves the data away at step 12."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 12:
            shutil.move("data", "gone")
