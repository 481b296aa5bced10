"""Checkpoint files: found, and checked before anything starts."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import check_archive
from lit_diffusion.runs.notice import is_first_process, notice
from lit_diffusion.runs.run_folder import foreign_folder

KEY = "ckpt_path"
PARTS = {  # of every checkpoint of ours
    "state_dict": dict,
    "optimizer_states": list,
    "loops": dict,
    "callbacks": dict,
    "global_step": int,
    "pytorch-lightning_version": str,
}


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
    of_steps = [file for _, file in sorted(steps_in(folder), reverse=True)]
    whole: list[tuple[int, bool, Path]] = []
    others = [file for file in folder.glob("[!.]*.ckpt") if file not in of_steps]
    for file in [*sorted(others, key=lambda one: (one.name != "last.ckpt", one)), *of_steps]:
        if any(file.samefile(other) for *_, other in whole):
            continue  # one file by two names
        step = step_of(file)
        if step is None:
            notice(f"{file} is damaged or no checkpoint of ours, and passed over")
            continue
        whole.append((step, file.name == "last.ckpt", file))
        if file in of_steps:
            break  # all others are older
    return max(whole)[-1] if whole else None


def none_yet(run: Path) -> bool:
    """Whether a run has not come to its first checkpoint, or has not begun: it starts at its first step.

    Raises ConfigError where the folder is that of no run.
    """
    if any((run / "checkpoints").glob("[!.]*.ckpt")):
        return False
    # the first process of a run makes the folder, and then the file
    if is_first_process() and run.exists() and not (run / "config.yaml").is_file():
        raise foreign_folder(run, "choose another run.name", key="run.name")
    notice(f"{run} has no checkpoint yet: training begins at its first step")
    return True


def step_of(file: Path) -> int | None:
    """Updates of the weights in a checkpoint; None where the file is no whole one, down to the last bit."""
    try:
        step: int = load(file)["global_step"]
        return step
    except Exception:  # torch raises a different type for every kind of damage
        return None


def load(file: Path) -> dict[str, Any]:
    """A checkpoint on the CPU: tensors and plain values, never code. Raises some error where it is damaged."""
    if not file.is_file():
        raise ValueError("no file")
    check_archive(file)
    checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if checkpoint.get("global_step") == 0 and checkpoint.get("optimizer_states") == []:
        checkpoint.setdefault("loops", {})  # of no step yet: its weights came from elsewhere
    if missing := [part for part in PARTS if part not in checkpoint]:
        raise ValueError(f"{missing[0]} is missing")
    for part, kind in PARTS.items():
        if not isinstance(checkpoint[part], kind):
            raise ValueError(f"{part} is no {kind.__name__}")
    if not all(isinstance(state, dict) and "param_groups" in state for state in checkpoint["optimizer_states"]):
        raise ValueError("optimizer_states are none")
    for name in ("state_dict", "current_model_state"):
        if not all(isinstance(value, torch.Tensor) for value in checkpoint.get(name, {}).values()):
            raise ValueError(f"{name} holds other things than tensors")
    return checkpoint


def read(file: Path) -> dict[str, Any]:
    """As `load`. Raises ConfigError where the file is damaged."""
    try:
        return load(file)
    except Exception as error:  # torch raises a different type for every kind of damage
        raise ConfigError(
            f"{file} is damaged or no checkpoint of ours ({type(error).__name__}); write another one", key=KEY
        ) from error


def check(file: Path, module: nn.Module, optimizer: Optimizer | None = None) -> None:
    """Raises ConfigError unless `file` is a whole checkpoint whose weights fit `module`, and its state `optimizer`.

    Only tensors and plain values are read, never code.
    """
    checkpoint = read(file)
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
    # schedules add settings of their own, as initial_lr
    known = [set(group) for state in states for group in state["param_groups"]]
    if (
        optimizer
        and (states or checkpoint["global_step"])
        and not (known and set(optimizer.param_groups[0]) <= known[0])
    ):
        raise ConfigError(
            f"{file} holds the state of another optimizer than {type(optimizer).__name__}; go on with the one in the "
            "config.yaml that lies beside the checkpoints",
            key=KEY,
        )


def steps_in(folder: Path) -> list[tuple[int, Path]]:
    """The files of steps, `step=N.ckpt`, with their N."""
    numbers = [(file.stem.removeprefix("step="), file) for file in folder.glob("step=*.ckpt")]
    return [(int(number), file) for number, file in numbers if number.isdecimal()]
