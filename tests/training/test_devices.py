"""What a model draws and scores does not depend on how many devices share the work: real processes, real gloo."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from lit_diffusion.runs.watchdog import FIRST
from lit_diffusion.training.command import TrainingCLI
from tests.conftest import ROOT, TINY
from tests.processes import Process, run

pytestmark = pytest.mark.slow

CHECKPOINT = "--ckpt_path=runs/here/checkpoints/last.ckpt"
# numbers that two does not divide: 1,003 samples, and the 297 held-out images of the digits
SCORE = ["--scores.num_samples=1003", "--scores.batch_size=100", "--bits_per_dim.splits=[test]"]
PARZEN = ["--parzen.num_samples=1003", "--parzen.batch_size=100"]
TERMS = ["--bits_per_dim.terms=3", "--bits_per_dim.batch_size=100"]
DDP = ["--trainer.strategy=ddp", "--trainer.devices=2"]
ENDLESS = [
    *SCORE,
    "--scores.num_samples=10000000",
    '--trainer.callbacks+={"class_path": "tests.training.test_devices.Begun"}',
]


class Begun(Callback):
    """Writes the file `begun` in the working folder when the first process begins to draw samples."""

    def on_test_start(self, trainer, model):
        draw = model.draw

        def announce(*arguments, **options):
            model.draw = draw  # once: the file would outlive the test otherwise
            if trainer.is_global_zero:
                Path("begun").touch()
            return draw(*arguments, **options)

        model.draw = announce


def wait_until_begun(folder: Path) -> None:
    """The file is removed, for the next process."""
    deadline = time.monotonic() + 120
    while not (folder / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (folder / "begun").unlink()
    time.sleep(0.5)


def start(arguments, folder, launcher=()):
    cache = {"LIT_DIFFUSION_CACHE": str(folder / "cache")}
    if not launcher:
        return Process(arguments, folder, cache, spares=int("--trainer.devices=2" in arguments))
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "lit_diffusion", *arguments],
        cwd=folder,
        env={**os.environ, **cache, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes) -> list[str]:
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outputs)
    return outputs


def saved(command: str, run_dir: str, *options: str) -> list[str]:
    return [command, "-c", "runs/here/config.yaml", CHECKPOINT, f"--run.dir={run_dir}", *options]


def scores(folder) -> dict:
    return json.loads((folder / "here/summary.json").read_text())["scores"]


def assert_same_scores(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, score in one.items():
        assert other[name]["value"] == pytest.approx(score["value"], rel=1e-6), name
        assert score["std"] is None or other[name]["std"] == pytest.approx(score["std"], rel=1e-6), name
        assert other[name]["protocol"] == score["protocol"]


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with runs/here, trained, and one/here, scored and sampled by one process."""
    folder = tmp_path_factory.mktemp("devices")
    finish(start(["fit", *TINY, "--trainer.max_steps=30", "--run.name=here"], folder))
    finish(start(saved("test", "one", *SCORE, *PARZEN, *TERMS), folder))
    finish(start(saved("predict", "one", "--prediction.num_samples=1003", "--prediction.batch_size=100"), folder))
    return folder


def test_two_processes_score_and_draw_what_one_does(trained):
    """FID, IS, KID, precision, recall, bits/dim and Parzen to 1e-6 relative; sample files byte for byte."""
    finish(start(saved("test", "two", *SCORE, *PARZEN, *TERMS, *DDP), trained))
    assert_same_scores(scores(trained / "one"), scores(trained / "two"))
    kinds = {"fid", "inception_score", "kid", "bits_per_dim/test", "parzen_log_likelihood"}
    assert kinds < scores(trained / "two").keys()
    finish(
        start(saved("predict", "two", "--prediction.num_samples=1003", "--prediction.batch_size=100", *DDP), trained)
    )
    one, two = (files(trained / run / "here/predict") for run in ("one", "two"))
    assert len(one) == 1003 + 3  # the NPZ, the grid, and how they were drawn
    assert one == two


def test_two_nodes_of_torchrun_score_what_one_process_does(trained):
    """One process a node, joined over the loopback address."""
    nodes = ["--trainer.strategy=ddp", "--trainer.num_nodes=2", "--trainer.devices=1"]
    where = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    finish(
        *(
            start(
                saved("test", "nodes", *SCORE, *PARZEN, *TERMS, *nodes),
                trained,
                ["torch.distributed.run", *where, f"--node-rank={rank}", "-m"],
            )
            for rank in (0, 1)
        )
    )
    assert_same_scores(scores(trained / "one"), scores(trained / "nodes"))


CAUSES = {  # in the middle of an exchange gloo may notice first
    "first": ("parent process died", "a remote worker"),
    "second": ("terminated with code -9",),
}


@pytest.mark.parametrize("victim", CAUSES)
def test_when_a_process_dies_the_others_end_with_an_error_soon(trained, victim):
    """Killed while both draw samples, minutes from the next exchange: all is over in seconds, and the cause said."""
    first = start(saved("test", "dead", *ENDLESS, *DDP), trained)
    second = child_of(first.pid)
    wait_until_begun(trained)
    begin = time.monotonic()
    os.kill(first.pid if victim == "first" else second, 9)
    output = first.communicate(timeout=60)[0]  # until the last process has closed it
    assert time.monotonic() - begin < 30
    assert first.returncode != 0
    assert any(cause in output for cause in CAUSES[victim]), output


def test_process_whose_first_is_gone_when_it_comes_ends_at_once(trained):
    """It has another parent by then, and would wait for a rendezvous that never comes."""
    late = {"LOCAL_RANK": "1", "LIT_DIFFUSION_FIRST_PROCESS": str(2**22 + 1)}
    ended = run(saved("test", "late", *SCORE), trained, late, timeout=60)
    assert ended.returncode == 1
    assert "parent process died" in ended.stderr


def test_what_a_process_starts_after_a_command_is_not_of_its_run(command, monkeypatch):
    """A notebook that has fitted and then starts torchrun: its ranks have torchrun for a parent, not the notebook."""
    seen = []
    monkeypatch.setattr(TrainingCLI, "_run_subcommand", lambda self, name: seen.append(os.environ.get(FIRST)))
    command("fit", *TINY)
    assert seen == [str(os.getpid())]
    assert FIRST not in os.environ


def child_of(pid: int) -> int:
    """The process that a process has started, once it has."""
    for _ in range(600):
        listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
        if listed:
            return int(listed[0])
        time.sleep(0.1)
    raise AssertionError("no second process came")


def test_scoring_ends_on_sigterm_within_seconds(trained):
    """Not at its end, hours later; the status is that of a command that the signal has ended."""
    process = start(saved("test", "ended", *ENDLESS), trained)
    wait_until_begun(trained)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode in (143, -15)
