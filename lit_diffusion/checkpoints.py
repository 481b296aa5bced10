"""Checkpoint files, looked at before anything starts."""

import sys
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from torch.optim import Optimizer

from lit_diffusion.errors import ConfigError

KEY = "ckpt_path"
PARTS = ("state_dict", "optimizer_states", "pytorch-lightning_version")  # of every checkpoint of ours


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
    # best.ckpt may be of the newest step too, but is written while that step's scores are not yet complete
    steps = {file: step_of(file) for file in sorted(folder.glob("*.ckpt")) if file.name != "best.ckpt"}
    for file in (file for file, step in steps.items() if step is None):
        warn(f"{file} is damaged or no checkpoint of ours, and passed over")
    whole = [(step, file.name == "last.ckpt", file) for file, step in steps.items() if step is not None]
    return max(whole)[-1] if whole else None


@rank_zero_only
def warn(message: str) -> None:
    """One line, once, whatever the number of processes."""
    print(message, file=sys.stderr)


def step_of(file: Path) -> int | None:
    """Updates of the weights in a checkpoint; None where the file is no whole one."""
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return int(checkpoint["global_step"]) if all(part in checkpoint for part in PARTS) else None
    except Exception:  # torch raises a different type for every kind of damage
        return None


def check(file: Path, module: nn.Module, optimizer: Optimizer | None = None) -> None:
    """Raises ConfigError unless `file` is a whole checkpoint whose weights fit `module`, and its state `optimizer`.

    Only tensors and plain values are read, never code.
    """
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        weights, states, _ = (checkpoint[part] for part in PARTS)
    except Exception as error:  # torch raises a different type for every kind of damage
        raise ConfigError(
            f"{file} is damaged or no checkpoint of ours ({type(error).__name__}); write another one", key=KEY
        ) from error
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
