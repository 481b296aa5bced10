"""What an agent of W&B starts, from the sweep file to the summary of the run, offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_diffusion.errors import ConfigError
from tests.conftest import ROOT, TINY
from tests.sweep.test_sweeps import by_agent

FEW = ["--scores.num_samples=20", "--scores.protocol.splits=2", "--scores.every_n_steps=0"]


@pytest.fixture
def base(command, capsys, tmp_path) -> Path:
    """digits.yaml, shrunk, as one file, which logs to W&B as the shipped one does: offline."""
    options = [option for option in TINY if not option.startswith("--trainer.logger")]
    with pytest.raises(SystemExit):
        command("fit", *options, *FEW, "--trainer.max_steps=2", "--print_config")
    path = tmp_path / "base.yaml"
    path.write_text(capsys.readouterr().out)
    return path


@pytest.fixture
def agent(base, monkeypatch, tmp_path):
    """Runs a cell's command as wandb_agent.py does, by the shell's `lightning`, with an agent's environment."""
    monkeypatch.setenv("LIT_DIFFUSION_CONFIG", str(base))
    bin_folder = Path(sys.executable).parent
    environment = {"WANDB_MODE": "offline", "WANDB_SWEEP_ID": "abcd1234", "PATH": f"{bin_folder}:{os.environ['PATH']}"}

    def run(name: str, cell: list[tuple], run_id: str, **variables: str) -> str:
        for key, value in variables.items():
            monkeypatch.setenv(key, value)
        done = subprocess.run(
            by_agent(name, cell),
            env={**os.environ, **environment, "WANDB_RUN_ID": run_id, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_the_program_path_of_an_agent_runs_from_end_to_end(agent, tmp_path):
    """A cell of table2 by `fit`, then one of samplers by `test`: run folders, summaries, and W&B's own runs."""
    overlay = "configs/objective/variational_bound_learned_diagonal.yaml"
    agent("table2", [("config", overlay), ("model.reverse.parameterization", "PosteriorMean")], "run00001")
    run = next((tmp_path / "runs/table2").iterdir())
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("finished", 2) and summary["scores"]["fid"]["value"] > 0
    settings = summary["settings"]
    assert settings["model.reverse.parameterization"] == "PosteriorMean"
    assert settings["model.reverse.variance"] == "LearnedDiagonal"
    assert list(run.glob("wandb/offline-run-*-run00001"))

    agent(
        "samplers",
        [("model.sampler", "DDIMSampler"), ("model.sampler.steps", 3)],
        "run00002",
        LIT_DIFFUSION_CONFIG=str(run / "config.yaml"),
        LIT_DIFFUSION_CHECKPOINT=str(run / "checkpoints/last.ckpt"),
    )
    tested = next((tmp_path / "runs/samplers").iterdir())
    scores = json.loads((tested / "summary.json").read_text())["scores"]
    assert scores["fid"]["protocol"]["sampler"] == "DDIMSampler" and scores["fid"]["protocol"]["nfe"] == 3
    assert list(tested.glob("wandb/offline-run-*-run00002"))


def test_a_base_that_is_not_named_is_answered_by_the_variable(command):
    """W&B leaves the name of a variable that is not set."""

    with pytest.raises(ConfigError, match="LIT_DIFFUSION_CONFIG is not set; run `export LIT_DIFFUSION"):
        command("fit", "-c", "LIT_DIFFUSION_CONFIG")
