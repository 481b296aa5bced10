"""Kills runs with SIGKILL at random moments until they are finished, and compares them with an unbroken one.

    python -m tests.faults.kill 50                 # so many kills, one process
    python -m tests.faults.kill 20 --devices 2     # two DDP processes, of which a random one is killed
    python -m tests.faults.kill 10 --model gan     # another model than diffusion

Weights, average, optimizer state, best checkpoint, metrics.csv and scores must be those of the unbroken run, bit by
bit. What the process was doing when it was killed is read from its own stack, and counted.
"""

import argparse
import collections
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import torch
from lightning.pytorch import Callback

from tests.conftest import TINY, TINY_GAN, TINY_VAE

SCORES = [
    "--scores.num_samples=40",
    "--scores.track_samples=40",
    "--scores.every_n_steps=30",
    "--scores.protocol.splits=2",
    "--grids.every_n_steps=50",
    "--grids.num_images=16",
    "--checkpoint.every_n_steps=7",
    "--trainer.val_check_interval=10",
    "--trainer.max_steps=120",
]
DIFFUSION = [
    *TINY,
    "--model.reverse.network.dropout=0.3",
    "--data.flip=true",
    "--model.objective=VariationalBound",
    "--model.objective.timesteps=ImportanceSampled",
    "--model.objective.timesteps.history=3",
    "--bits_per_dim.splits=[test]",
    "--bits_per_dim.terms=2",
    # three batches a step, an epoch of 46 batches, and a validation every 10: most fall within a step
    "--trainer.accumulate_grad_batches=3",
]
GAN = [*TINY_GAN, "--data.flip=true", "--model.discriminator_steps=2", "--model.r1=0.1"]
VAE = [*TINY_VAE, "--model.kl_warmup=60", "--model.importance_draws=4", "--bits_per_dim.splits=[test]"]
MODELS = {"diffusion": [*DIFFUSION, *SCORES], "gan": [*GAN, *SCORES], "vae": [*VAE, *SCORES]}
# Functions by which a stack says what is going on, the innermost first.
PHASES = {
    "written_whole": "writing a file",
    "save_checkpoint": "writing a checkpoint",
    "linked": "writing a checkpoint",
    "restore_training_state": "loading a checkpoint",
    "_restore_modules_and_callbacks": "loading a checkpoint",
    "evaluate": "scoring",
    "_sample": "drawing pictures",
    "validation_step": "validation",
    "_EvaluationLoop.run": "validation",
    "optimizer_step": "training",
    "advance": "training",
}


class Killer(Callback):
    """Kills its process a given time after training has begun."""

    def __init__(self, seconds: float, rank: int, log: str):
        self.seconds, self.rank, self.file = seconds, rank, log

    def setup(self, trainer, pl_module, stage):
        if trainer.global_rank == self.rank:
            main = threading.get_ident()
            timer = threading.Timer(self.seconds, self._kill, [main, trainer])
            timer.daemon = True
            timer.start()

    def _kill(self, main, trainer):
        stack = [frame.name for frame in traceback.extract_stack(sys._current_frames()[main])]
        phase = next((PHASES[name] for name in reversed(stack) if name in PHASES), "between")
        Path(self.file).write_text(json.dumps({"phase": phase, "step": trainer.global_step}))
        os.kill(os.getpid(), signal.SIGKILL)


def fit(folder: Path, name: str, run: list[str], devices: int, *options: str) -> subprocess.CompletedProcess:
    """One attempt, in a process of its own."""
    parallel = ["--trainer.devices=2", "--trainer.strategy=ddp"] if devices > 1 else ["--trainer.devices=1"]
    command = [sys.executable, "-m", "lit_diffusion", "fit", *run, *parallel, f"--run.name={name}", *options]
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "LIT_DIFFUSION_ALLOW": "tests",
        "LIT_DIFFUSION_CACHE": str(folder / "cache"), "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def contents(run: Path) -> dict[str, object]:
    """All that must be equal of two runs."""
    last, best = (torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("last", "best"))
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{k: row[k] for k in sorted(row) if k != "images_per_second"} for row in csv.DictReader(file)]
    summary = json.loads((run / "summary.json").read_text())
    checkpoints = {
        f"{name}.{part}": c[part]
        for name, c in (("last", last), ("best", best))
        for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step")
    }
    checkpoints |= {name: last[name] for name in ("loops", "divergence")}
    checkpoints["callbacks"] = {name: state for name, state in last["callbacks"].items() if name != "Timing"}
    files = sorted(path.name for path in (run / "checkpoints").iterdir())
    return {**checkpoints, "metrics": rows, "scores": summary["scores"], "status": summary["status"], "files": files}


def differences(one: object, other: object, name: str = "") -> list[str]:
    """Where two of them differ, by name."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [name]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{name}: {sorted(map(str, one.keys() ^ other.keys()))}"]
        return [d for key in one for d in differences(one[key], other[key], f"{name}.{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{name}: {len(one)} and {len(other)}"]
        return [d for i, (a, b) in enumerate(zip(one, other)) for d in differences(a, b, f"{name}[{i}]")]
    return [] if one == other or (one != one and other != other) else [f"{name}: {one} and {other}"]


def campaign(folder: Path, kills: int, devices: int, seed: int = 0, model: str = "diffusion") -> dict[str, object]:
    """Unbroken run, then runs that are killed, one after the other, until there have been so many kills."""
    chance, seen, runs, bad, done = random.Random(seed), collections.Counter(), 0, [], 0
    begin = time.monotonic()
    whole = fit(folder, "whole", MODELS[model], devices)
    if whole.returncode:
        raise RuntimeError(whole.stderr[-2000:])
    expected = contents(folder / "runs/whole")
    seconds = json.loads((folder / "runs/whole/summary.json").read_text())["seconds"]
    length = sum(seconds.values())
    while done < kills:
        runs += 1
        name, log = f"broken{runs}", folder / "killed.json"
        while True:
            options = ["--ckpt_path=last"]
            if done < kills:
                delay, rank = chance.uniform(0, 0.7 * length), chance.randrange(devices)
                killer = {
                    "class_path": "tests.faults.kill.Killer",
                    "init_args": {"seconds": delay, "rank": rank, "log": str(log)},
                }
                options.append(f"--trainer.callbacks+={json.dumps(killer)}")
            result = fit(folder, name, MODELS[model], devices, *options)
            if log.exists():
                status = json.loads(log.read_text())
                seen[status["phase"]] += 1
                done += 1
                log.unlink()
            elif result.returncode == 0:
                break
            else:
                raise RuntimeError(f"{name}: {result.stderr[-3000:]}")
            if result.returncode == 0:
                break
        found = differences(expected, contents(folder / f"runs/{name}"))
        if found:
            bad.append((name, found[:5]))
        print(f"{done} kills, {runs} runs, {len(bad)} differ, {dict(seen)}", found[:3], flush=True)
    return {"kills": done, "runs": runs, "differ": bad, "phases": dict(seen), "seconds": time.monotonic() - begin}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=MODELS, default="diffusion")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(campaign(Path(temporary), **vars(arguments))))
