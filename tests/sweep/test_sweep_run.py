"""`lit-diffusion sweep`: every cell once, whatever happens to it, to its neighbours or to the sweep."""

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep import command as sweep_command
from lit_diffusion.sweep import job as jobs
from lit_diffusion.sweep.job import Job
from lit_diffusion.sweep.live_display import shorten_names
from lit_diffusion.sweep.runner import Sweep
from lit_diffusion.sweep.sweep_file import SweepFile
from lit_diffusion.training import command as training_cli
from tests.conftest import TINY
from tests.processes import Process

# Stands for a training command: writes what a run would, as the option --does says.
FAKE = """
import json, os, sys, time
from pathlib import Path
options = dict(one.removeprefix("--").partition("=")[::2] for one in sys.argv[1:] if "=" in one)
folder = Path(options["run.dir"]) / options["run.name"]
folder.mkdir(parents=True)
(folder / "config.yaml").touch()
does = options["does"]
time.sleep(float(options.get("takes", 0)))
if does == "fail" and not Path("repaired").exists():
    print("all is well")
    sys.exit("it broke")
status = does if does in ("finished", "diverged") else "finished"
threads = os.environ.get("OMP_NUM_THREADS")
content = {"schema": 1, "status": status, "reason": "nan", "scores": {}, "settings": {"does": does}, "threads": threads}
(folder / "summary.json").write_text(json.dumps(content))
"""


@pytest.fixture
def out(tmp_path, monkeypatch):
    """A folder for jobs whose processes are FAKE."""
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, str(tmp_path / "fake.py")))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


def job(out: Path, name: str, does: str = "finished", **options: float) -> Job:
    return Job(name, ["fit", f"--does={does}", *(f"--{k}={v}" for k, v in options.items())], out, {"does": does})


def sweep(jobs: list[Job], slots: int = 1, watch=lambda jobs: None) -> dict[str, str]:
    Sweep(jobs, slots, lambda jobs: None, watch).run()
    return {job.name: job.state for job in jobs}


def test_every_cell_ends_and_a_failed_one_stops_no_other(out):
    """The reason of a failure is the last line that the process printed."""
    cells = [job(out, "a"), job(out, "b", "fail"), job(out, "c", "diverged"), job(out, "d")]
    assert sweep(cells, 2) == {"a": "finished", "b": "failed", "c": "diverged", "d": "finished"}
    assert cells[1].reason == "it broke" and cells[2].reason == "nan"
    (out / "logs/e.log").write_text("disk full, last week\n")
    killed = job(out, "e", takes=60)
    seconds = []
    sweep([killed], watch=lambda jobs: seconds.append(killed._process and killed._process.kill()))
    assert (killed.state, killed.reason) == ("failed", "killed by signal 9")


def test_cells_that_have_ended_are_not_run_again_and_failed_ones_are(out, tmp_path):
    """Finished and diverged are results; what has failed, or left half a folder, starts anew."""
    sweep([job(out, "a"), job(out, "b", "fail"), job(out, "c", "diverged")])
    (out / "d").mkdir()
    (out / "d/config.yaml").touch()  # killed before its first checkpoint
    written = {name: (out / name / "summary.json").stat().st_mtime_ns for name in "ac"}
    (tmp_path / "repaired").touch()
    again = [job(out, "a"), job(out, "b", "fail"), job(out, "c", "diverged"), job(out, "d")]
    assert sweep(again) == {"a": "finished", "b": "finished", "c": "diverged", "d": "finished"}
    assert written == {name: (out / name / "summary.json").stat().st_mtime_ns for name in "ac"}


def test_so_many_cells_run_at_a_time_and_share_the_processors(out, monkeypatch):
    """Never more than `slots`, and not fewer while others wait."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    running = []
    cells = [job(out, name, takes=0.3) for name in "abcde"]
    sweep(cells, 2, lambda jobs: running.append(sum(job.state == "running" for job in jobs)))
    assert max(running) == 2
    threads = {json.loads((out / job.name / "summary.json").read_text())["threads"] for job in cells}
    assert threads == {str(max(1, os.cpu_count() // 2))}


def test_two_sweeps_in_one_folder_share_the_cells(out):
    """Each cell is run by one of them; the other waits for it, and both end with all results."""
    both = [
        Sweep([job(out, name, takes=0.5) for name in "abc"], 1, lambda jobs: None, lambda jobs: None) for _ in range(2)
    ]
    seen = set()
    deadline = time.monotonic() + 60
    alive = both
    while alive and time.monotonic() < deadline:
        alive = [one for one in both if one._advance()]
        for one in both:
            one._asked = 0.0  # asks again at once
            seen |= {job.state for job in one.jobs}
        time.sleep(0.02)
    assert "elsewhere" in seen
    for one in both:
        assert [job.state for job in one.jobs] == ["finished"] * 3
    assert sum(job.seconds > 0 for one in both for job in one.jobs) == 3  # each ran once


def test_a_killed_sweep_leaves_its_cell_locked_until_the_process_has_ended(out):
    """The lock is the process's own: a sweep that starts meanwhile does not touch the folder."""
    first, second = job(out, "a", takes=1.0), job(out, "a")
    first.start(os.environ)
    first._process = None  # the first sweep knows no more
    second.start(os.environ)
    assert second.state == "elsewhere"
    time.sleep(3.0)
    second.start(os.environ)
    assert second.state == "finished" and second.seconds == 0


def test_a_cell_of_another_base_is_refused(out):
    """Results of two different experiments never share a folder."""
    sweep([job(out, "a")])
    other = Job("a", ["fit"], out, {"does": "something else"})
    with pytest.raises(
        ConfigError, match="a holds another experiment: does is finished there and something else here; choose"
    ):
        other.check()


def test_a_folder_that_is_not_a_run_is_left_alone(out):
    """What lies where a cell's folder belongs is not removed."""
    (out / "a").mkdir(parents=True)
    (out / "a/thesis.tex").write_text("years of work")
    (out / "b").symlink_to(out / "a")
    (out / "c").touch()
    cells = [job(out, name) for name in "abc"]
    assert sweep(cells) == {"a": "failed", "b": "failed", "c": "failed"}
    assert all("exists and is not a run" in cell.reason for cell in cells)
    assert (out / "a/thesis.tex").exists()


def test_a_folder_that_cannot_be_made_fails_its_cells_in_a_line(out):
    """As where a file has the name of the sweep's folder."""
    out.touch()
    cell = job(out, "a")
    assert sweep([cell]) == {"a": "failed"} and "File exists" in cell.reason or "Not a directory" in cell.reason


def test_gpus_are_shared(monkeypatch):
    """Three slots on eight GPUs, and eight slots on three."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    three = Sweep([], 3, lambda jobs: None, lambda jobs: None)
    assert [three._environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0,3,6", "1,4,7", "2,5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    eight = Sweep([], 8, lambda jobs: None, lambda jobs: None)
    assert [eight._environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(4)] == ["4", "5", "6", "4"]


def test_cells_are_shown_by_what_tells_them_apart():
    """Keys, what all have, and a folder that all overlays lie in are left out; names of several kinds stay whole."""
    names = [f"parameterization={p},config=objective-{o},seed_everything=0" for p in ("A", "B") for o in ("x-y", "x-z")]
    assert list(shorten_names(names).values()) == ["A y", "A z", "B y", "B z"]
    assert shorten_names(["lr=0.1", "lr=0.2"]) == {"lr=0.1": "0.1", "lr=0.2": "0.2"}
    assert shorten_names(["lr=0.1"]) == {"lr=0.1": "lr=0.1"}
    assert shorten_names(["lr=0.1", "cut-ab12"]) == {"lr=0.1": "lr=0.1", "cut-ab12": "cut-ab12"}


SWEEP = {
    "name": "tiny",
    "program": "lightning",
    "method": "grid",
    "parameters": {"model.reverse.parameterization": {"values": ["Epsilon", "CleanImage"]}},
    "command": ["${env}", "${program}", "fit", "-c", "${envvar:LIT_DIFFUSION_CONFIG}", "${args}"],
}


@pytest.fixture
def sweep_file(tmp_path, monkeypatch):
    """Writes a sweep file, SWEEP but for what is given, in an empty folder that becomes the working one."""
    monkeypatch.chdir(tmp_path)

    def write(**changes) -> str:
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**SWEEP, **changes}, sort_keys=False))
        return "tiny.yaml"

    return write


def test_dry_run_prints_a_command_a_cell_and_runs_nothing(sweep_file, capsys, tmp_path):
    """All cells of one seed, then all of the next."""
    sweep_command.main([sweep_file(), *TINY, "--seeds=2", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("--run.name=")[1] for line in lines] == [
        f"parameterization={one},seed_everything={seed}" for seed in (0, 1) for one in ("Epsilon", "CleanImage")
    ]
    assert lines[3].startswith(f"lightning fit -c {TINY[1]} --model.reverse.network.width=8 ")
    assert "--model.reverse.parameterization=CleanImage --seed_everything=1 --run.dir=runs/tiny " in lines[3]
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_bayes_prints_the_cell_that_depends_on_no_score(sweep_file, capsys, tmp_path):
    """The one that the sweep begins with."""
    pytest.importorskip("optuna")
    bayes = {"method": "bayes", "metric": {"name": "fid", "goal": "minimize"}, "run_cap": 3}
    file = sweep_file(**bayes, parameters={"model.optimizer.lr": {"min": 1e-4, "max": 1e-2}})
    sweep_command.main([file, *TINY, "--dry-run"])
    out, err = capsys.readouterr()
    first = SweepFile.read(file)
    lr = sweep_command.suggest(first, [], 0, 0)["model.optimizer.lr"]
    assert out.count("\n") == 1 and f"--model.optimizer.lr={lr} " in out and not (tmp_path / "runs").exists()
    assert err == "bayes chooses each of 3 cells by the scores of those before; the first:\n"


def test_bayes_counts_failures_as_the_worst_and_ends_with_its_space(sweep_file, tmp_path, monkeypatch):
    """A cell that has failed is known; a sweep that had written one cell twice can be started again."""
    pytest.importorskip("optuna")
    seen = []

    def suggest(file, history, index, seed, running=()):
        seen.append((list(history), list(running)))
        return proposed(file, history, index, seed, running)

    proposed = sweep_command.suggest
    monkeypatch.setattr(sweep_command, "suggest", suggest)
    rates = [{"model.optimizer.lr": rate} for rate in (0.1, 0.2, 0.3)]
    file = sweep_file(
        method="bayes",
        metric={"name": "fid", "goal": "minimize"},
        run_cap=5,
        parameters={"model.optimizer.lr": {"values": [0.1, 0.2, 0.3]}},
    )
    out = tmp_path / "runs/tiny"
    out.mkdir(parents=True)
    (out / "sweep.json").write_text(json.dumps({"schema": 1, "cells": [*rates[:2], rates[0]]}))
    options = sweep_command.make_parser().parse_args([file])
    options.config = [TINY[1]]

    def plan() -> sweep_command.Plan:
        return sweep_command.Plan(SweepFile.read(file), options, TINY[2:])

    planned = plan()
    first, second = planned.make_jobs()
    for job, status, scores in ((first, "failed", {}), (second, "finished", {"fid": {"value": 2.0}})):
        job.folder.mkdir()
        content = {"schema": 1, "status": status, "scores": scores, "settings": job.settings}
        (job.folder / "summary.json").write_text(json.dumps(content, default=str))
    third = planned.propose([])
    assert third is not None and "0.3" in third.name
    assert seen[-1] == ([(rates[0], None), (rates[1], 2.0)], [])
    assert planned.propose([]) is None  # the third runs, and there is no fourth
    assert seen[-1] == ([(rates[0], None), (rates[1], 2.0)], [rates[2]])
    assert len(planned.make_jobs()) == 3
    third.state = "failed"  # before it could write a summary
    assert plan().propose([third]) is None
    assert seen[-1] == ([(rates[0], None), (rates[1], 2.0), (rates[2], None)], [])


def test_all_cells_are_asked_to_stop_before_any_is_waited_for():
    """So that all of them can save in the time that a cluster gives."""
    calls = []

    class Cell:
        state, slot = "running", 0

        def __init__(self, name):
            self.name = name

        def poll(self):
            os.kill(os.getpid(), signal.SIGTERM)

        def ask_to_stop(self):
            calls.append(("ask", self.name))

        def stop(self):
            calls.append(("wait", self.name))

    Sweep([Cell("a"), Cell("b")], 2, lambda jobs: None, lambda jobs: None).run()
    assert calls == [("ask", "a"), ("ask", "b"), ("wait", "a"), ("wait", "b")]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"parameters": {"model.objectiv": {"values": ["Simple"]}}},
            [],
            "command line: model.objectiv: no such setting; use objective",
        ),
        (
            {"parameters": {"model.sampler.steps": {"values": [3, 8]}}},
            [],
            "AncestralSampler.steps: expected at most the model's T = 7, got 8",
        ),
        ({}, ["--seeds=0"], "--seeds: expected 1 or more, got 0"),
        ({}, ["--jobs=0"], "--jobs: expected 1 or more"),
        (
            {"parameters": {"seed_everything": {"values": [1, 2]}}},
            ["--seeds=2"],
            "--seeds: .* also sets seed_everything",
        ),
        ({}, ["--model.nothing=1"], "model.nothing: no such setting"),
        ({}, ["-c", "nowhere.yaml"], "nowhere.yaml: no such file"),
        ({}, ["--run.dir=elsewhere"], "--run.dir: each cell has its own folder; use --out"),
        (
            {},
            ["--model.reverse.parameterization=Velocity"],
            "parameterization: .*tiny.yaml also sets it; set it once",
        ),
        ({}, ["--trainer.max_steps", "5"], "--trainer.max_steps: expected --KEY=VALUE"),
        ({}, ["--ckpt_path=last"], "--ckpt_path=last: cells resume by themselves"),
        ({}, ["--print_config=x"], "--print_config: not an option of cells"),
        ({"parameters": {"model.optimizer.lr": {"values": [0.001, "1e-3"]}}}, [], "are the same run; remove one"),
        ({"name": "../evil"}, [], "name: expected the name of a folder, such as table2; got ../evil"),
        (
            {"method": "bayes", "run_cap": 2, "metric": {"name": "fid"}, "parameters": {"model.lr": {"values": [1]}}},
            [],
            "model.lr=1,.*no such setting|lr=1.*no such",
        ),
        (
            {
                "method": "bayes",
                "run_cap": 2,
                "metric": {"name": "fid"},
                "parameters": {"model.objective": {"values": ["Simple", "Simpel"]}},
            },
            [],
            "objective=Simpel: .*Simpel",
        ),
        (
            {
                "method": "bayes",
                "run_cap": 2,
                "metric": {"name": "fid"},
                "parameters": {"ema.decay": {"min": 0.5, "max": 1.5}},
            },
            [],
            "decay=1.5: .*decay",
        ),
        (  # no values to list: the first cell is checked
            {
                "method": "bayes",
                "run_cap": 2,
                "metric": {"name": "fid"},
                "parameters": {"model.lr": {"distribution": "normal", "mu": 1.0}},
            },
            [],
            "lr=.*no such setting",
        ),
    ],
)
def test_all_cells_are_checked_before_the_first_starts(sweep_file, tmp_path, changes, options, message):
    """A mistake in the last cell is found before the first has cost anything, and leaves nothing behind."""
    with pytest.raises(ConfigError, match=message):
        sweep_command.main([sweep_file(**changes), *TINY, *options])
    assert not (tmp_path / "runs").exists()


def test_a_base_must_be_given(sweep_file):
    """The sweep file names none."""
    with pytest.raises(ConfigError, match="expected the cells' base, got none; use -c configs/digits.yaml"):
        sweep_command.main([sweep_file()])


def scores(out: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text())["scores"] for path in sorted(out.glob("*/summary.json"))}


@pytest.mark.slow
def test_a_sweep_that_was_interrupted_and_killed_ends_as_an_unbroken_one(sweep_file, tmp_path, capsys):
    """Ctrl-C, then SIGKILL in the middle of a cell, then to the end: scores and weights are the same.

    The unbroken ones are the commands that --dry-run prints.
    """
    few = ["--scores.num_samples=12", "--scores.protocol.splits=2", "--scores.track_samples=12"]
    base = [*TINY, *few, "--trainer.max_steps=80", "--checkpoint.every_n_steps=10", "--scores.every_n_steps=50"]
    name = sweep_file()

    def start() -> Process:
        return Process(["sweep", name, *base, "--out=broken"], tmp_path, stderr=True, spares=2)

    def wait_for(pattern: str) -> None:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(pattern)):
            assert time.monotonic() < deadline, f"no {pattern}"
            time.sleep(0.05)

    first = start()
    wait_for("broken/*Epsilon*/checkpoints/step=10.ckpt")
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    assert "repeat the command to continue" in first.stderr.read()
    assert json.loads(next(tmp_path.glob("broken/*Epsilon*/summary.json")).read_text())["status"] != "finished"
    second = start()
    wait_for("broken/*CleanImage*/checkpoints/step=20.ckpt")
    second.kill()
    second.wait()
    assert start().wait(300) == 0
    sweep_command.main([name, *base, "--out=whole", "--dry-run"])
    for line in capsys.readouterr().out.splitlines():
        training_cli.main(shlex.split(line)[1:])
    assert scores(tmp_path / "broken") == scores(tmp_path / "whole") != {}
    for whole in sorted((tmp_path / "whole").glob("param*/checkpoints/last.ckpt")):
        broken = tmp_path / "broken" / whole.relative_to(tmp_path / "whole")
        ours, theirs = (torch.load(path, weights_only=True)["state_dict"] for path in (broken, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert len(list((tmp_path / "broken").glob("param*"))) == 2
