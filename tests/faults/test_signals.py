"""SIGTERM, SIGUSR1 and Ctrl-C: the step in hand is finished and saved, everything else ends at once."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from tests.conftest import TINY
from tests.processes import Process
from tests.training.test_training import assert_same_training

pytestmark = pytest.mark.slow

LONG = ["--trainer.max_steps=100000", "--checkpoint.every_n_steps=100000", "--trainer.val_check_interval=100000"]
SCORED = ["--scores.num_samples=100000000", "--scores.track_samples=100000000", "--scores.every_n_steps=7"]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]


class Run:
    """A fit in a process of its own, and what it said."""

    def __init__(self, folder: Path, *options: str, environment: dict[str, str] | None = None):
        self.folder = folder / "runs/here"
        arguments = ["fit", *TINY, "--run.name=here", *options]
        self.process = Process(arguments, folder, environment, spares=int(TWO[0] in options))

    def wait_for_step(self, step: int) -> None:
        """Until metrics.csv or a checkpoint shows it."""
        deadline = time.monotonic() + 120
        while self.step() < step:
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def step(self) -> int:
        path = self.folder / "metrics.csv"
        lines = path.read_text().splitlines() if path.exists() else []
        return len(lines) - 1

    def end(self, signum: int) -> tuple[int, str, float]:
        """Exit status, output, and the seconds that it took."""
        begin = time.monotonic()
        self.process.send_signal(signum)
        output = self.process.communicate(timeout=60)[0]
        return self.process.returncode, output, time.monotonic() - begin


class Signalled(Callback):
    """Its process gets SIGTERM where the second epoch begins, or late at the end of the first validation."""

    def __init__(self, rank: int, hook: str):
        self.rank, self.hook = rank, hook

    def on_train_epoch_start(self, trainer, pl_module):
        if self.hook == "epoch" and trainer.current_epoch == 1 and trainer.global_rank == self.rank:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_end(self, trainer, pl_module):
        if self.hook == "validation" and trainer.global_step == 5 and trainer.global_rank == self.rank:
            time.sleep(1)  # the other rank is in the next step
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_a_run_at_its_next_step_which_is_saved(command, tmp_path, signum):
    """The run goes on from there to the same bits; its status is that of a command that the signal has ended."""
    run = Run(tmp_path, *LONG)
    run.wait_for_step(50)
    status, output, seconds = run.end(signum)
    saved = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert status == 128 + signum and seconds < 15
    said = f"stopped by {signal.Signals(signum).name}; step {saved} is saved; resume: lightning fit -c runs"
    assert said in output and "Traceback" not in output
    summary = json.loads((run.folder / "summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("failed", saved) and said in summary["reason"]
    for name, options in (("here", ["--ckpt_path=last"]), ("whole", [])):
        command("fit", *TINY, *LONG, f"--trainer.max_steps={saved + 10}", f"--run.name={name}", *options)
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("here", "whole")))


@pytest.mark.parametrize("devices", [[], TWO])
def test_scoring_ends_at_once_and_its_step_has_been_saved(tmp_path, devices):
    """Not after the hundred million samples; of two ranks both end."""
    run = Run(tmp_path, *LONG, *SCORED, *devices)
    deadline = time.monotonic() + 120
    while not (run.folder / "checkpoints/last.ckpt").exists():
        assert run.process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    status, output, seconds = run.end(signal.SIGTERM)
    assert status == 143 and seconds < 15 and "step 7 is saved" in output
    assert torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 7


def test_two_ranks_agree_on_the_step_to_end_at(tmp_path):
    run = Run(tmp_path, *LONG, *TWO)
    run.wait_for_step(20)
    status, output, _ = run.end(signal.SIGTERM)
    saved = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert status == 143 and f"step {saved} is saved" in output and saved >= 20
    assert "Traceback" not in output and "zombies" not in output


@pytest.mark.parametrize(
    ("rank", "hook", "devices"), [(0, "epoch", []), (0, "epoch", TWO), (1, "epoch", TWO), (0, "validation", TWO)]
)
def test_no_step_is_lost_wherever_the_signal_comes(tmp_path, rank, hook, devices):
    """Between two steps nothing may be saved yet; after an evaluation one rank may be ahead of another."""
    callback = {"class_path": "tests.faults.test_signals.Signalled", "init_args": {"rank": rank, "hook": hook}}
    options = [*LONG, *devices, f"--trainer.callbacks+={json.dumps(callback)}", "--data.batch_size=128"]
    run = Run(tmp_path, *options, *(["--trainer.val_check_interval=5"] if hook == "validation" else []))
    output, _ = run.process.communicate(120)
    saved = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert f"stopped by SIGTERM; step {saved} is saved" in output and "Traceback" not in output
    assert run.process.returncode == 143 and saved == (5 if hook == "validation" else run.step())


def test_slurm_s_warning_queues_the_job_again(tmp_path):
    """By its own command, with the step saved; a later life of the job takes `--ckpt_path last` from the first."""
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    slurm = {
        "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "1",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
    }
    run = Run(tmp_path, *LONG, "--ckpt_path=last", environment=slurm)
    run.wait_for_step(20)
    status, output, _ = run.end(signal.SIGUSR1)
    assert status == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    assert "is saved" in output and "no checkpoint yet; training starts at step 0" in output
