"""Checkpoint files: written whole, and looked at before anything starts."""

import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from torch.optim import Optimizer

from lit_diffusion.errors import ConfigError
from lit_diffusion.files import written_whole

KEY = "ckpt_path"
PARTS = ("state_dict", "optimizer_states", "pytorch-lightning_version")  # of every checkpoint of ours


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are never seen half written, and that hold tensors and plain values only, never code."""

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Takes the place of Lightning's, unless the user has chosen another."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = cls()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with written_whole(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())  # the name must not come to the disk before the data

    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return checkpoint


def find(path: str, run: Path) -> Path:
    """The file that `--ckpt_path` names. `best` is that of the run folder `run`, `last` the newest of its checkpoints
    that is whole: what an interruption has left half written is passed over.

    Raises ConfigError where it does not exist.
    """
    file = run / "checkpoints" / f"{path}.ckpt" if path in ("best", "last") else Path(path)
    if path == "last":
        file = newest(file.parent) or file
    if not file.is_file():
        made = sorted(str(other) for other in file.parent.glob("*.ckpt"))
        instead = f"write one of {', '.join(made)}" if made else "write the path of a .ckpt file"
        raise ConfigError(f"there is no checkpoint {file}; {instead}", key=KEY)
    return file


def newest(folder: Path) -> Path | None:
    """The checkpoint of the most steps among those in a folder that are whole; the others are named in a warning."""
    steps = {file: step_of(file) for file in sorted(folder.glob("[!.]*.ckpt"))}
    for file in (file for file, step in steps.items() if step is None):
        warn(f"{file} is damaged or no checkpoint of ours, and passed over")
    whole = [(step, file.name == "last.ckpt", file) for file, step in steps.items() if step is not None]
    return max(whole)[-1] if whole else None


def none_yet(run: Path) -> bool:
    """Whether a run has not come to its first checkpoint, or has not begun: it starts at its first step.

    Raises ConfigError where the folder is that of no run.
    """
    if any((run / "checkpoints").glob("[!.]*.ckpt")):
        return False
    if run.exists() and not (run / "config.yaml").is_file():
        raise ConfigError(f"{run} is in the way, and no run; write another run.name", key="run.name")
    warn(f"{run} has no checkpoint yet: training begins at its first step")
    return True


@rank_zero_only
def warn(message: str) -> None:
    """One line, once, whatever the number of processes."""
    print(message, file=sys.stderr)


def step_of(file: Path) -> int | None:
    """Updates of the weights in a checkpoint; None where the file is no whole one, down to the last bit."""
    try:
        return int(load(file)["global_step"])
    except Exception:  # torch raises a different type for every kind of damage
        return None


def load(file: Path) -> dict[str, Any]:
    """A checkpoint on the CPU: tensors and plain values, never code. Raises some error where it is damaged."""
    with zipfile.ZipFile(file) as parts:
        if damaged := parts.testzip():  # checksums, which torch does not look at
            raise ValueError(f"{damaged} is damaged")
    checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if missing := [part for part in PARTS if part not in checkpoint]:
        raise ValueError(f"{missing[0]} is missing")
    return checkpoint


def check(file: Path, module: nn.Module, optimizer: Optimizer | None = None) -> None:
    """Raises ConfigError unless `file` is a whole checkpoint whose weights fit `module`, and its state `optimizer`.

    Only tensors and plain values are read, never code.
    """
    try:
        checkpoint = load(file)
    except Exception as error:  # torch raises a different type for every kind of damage
        raise ConfigError(
            f"{file} is damaged or no checkpoint of ours ({type(error).__name__}); write another one", key=KEY
        ) from error
    weights, states = checkpoint["state_dict"], checkpoint["optimizer_states"]
    expected = module.state_dict()
    differences = [name for name in expected if name not in weights or weights[name].shape != expected[name].shape]
    differences += [name for name in weights if name not in expected]
    if differences:
        name = differences[0]
        theirs, ours = (tuple(w[name].shape) if name in w else "missing" for w in (weights, expected))
        raise ConfigError(
            f"{file} holds another architecture: {len(differences)} weights differ, first {name}, {theirs} in the file "
            f"and {ours} in the model; use the config.yaml that lies beside the checkpoints",
            key=KEY,
        )
    if optimizer and states and set(states[0]["param_groups"][0]) - {"initial_lr"} != set(optimizer.param_groups[0]):
        raise ConfigError(
            f"{file} holds the state of another optimizer than {type(optimizer).__name__}; go on with the one in the "
            "config.yaml that lies beside the checkpoints",
            key=KEY,
        )
