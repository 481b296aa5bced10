"""Checkpoint files: found, and checked before anything starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lit_diffusion.config.keys import is_within
from lit_diffusion.config.relevance import Settings, list_changes
from lit_diffusion.config.suggestions import nearest
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import check_archive
from lit_diffusion.runs.notice import is_first_process, notice
from lit_diffusion.runs.run_folder import foreign_folder

KEY = "ckpt_path"
PARTS = {  # of every checkpoint
    "state_dict": dict,
    "optimizer_states": list,
    "loops": dict,
    "callbacks": dict,
    "global_step": int,
    "pytorch-lightning_version": str,
}


def find(path: str, run: Path) -> Path:
    """The file that `--ckpt_path` names: `best` of the run folder `run`, `last` the newest of its intact checkpoints
    (an interruption may have left a damaged one), or a path.

    Raises ConfigError if it does not exist.
    """
    file = run / "checkpoints" / f"{path}.ckpt" if path in ("best", "last") else Path(path)
    if path == "last":
        file = newest(file.parent) or file
    if not file.is_file():
        folders = [file, file / "checkpoints"] if file.is_dir() else [file.parent]
        made = sorted(str(other) for folder in folders for other in folder.glob("*.ckpt"))
        instead = f"use one of {', '.join(made)}" if made else "use the path of a .ckpt file"
        if not file.is_dir() and file.name == path and (near := nearest(file.stem, ["last", "best"])):
            instead = f"use {near}"
        found = "expected a file, got a folder" if file.is_dir() else "no such checkpoint"
        raise ConfigError(f"{file}: {found}; {instead}", key=KEY)
    return file


def newest(folder: Path) -> Path | None:
    """The intact checkpoint with the most steps in a folder; damaged ones are named in a warning."""
    of_steps = [file for _, file in sorted(steps_in(folder), reverse=True)]
    whole: list[tuple[int, bool, Path]] = []
    others = [file for file in folder.glob("[!.]*.ckpt") if file not in of_steps]
    for file in [*sorted(others, key=lambda one: (one.name != "last.ckpt", one)), *of_steps]:
        if any(file.samefile(other) for *_, other in whole):
            continue  # two names of one file
        step = step_of(file)
        if step is None:
            notice(f"{file} is damaged or not a checkpoint of lit_diffusion; skipped")
            continue
        whole.append((step, file.name == "last.ckpt", file))
        if file in of_steps:
            break  # all others are older
    return max(whole)[-1] if whole else None


def none_yet(run: Path) -> bool:
    """Whether a run has no checkpoint yet, or does not exist, and so starts at step 0.

    Raises ConfigError if the folder is not that of a run.
    """
    if any((run / "checkpoints").glob("[!.]*.ckpt")):
        return False
    # the first process of a run makes the folder, and then the file
    if is_first_process() and run.exists() and not (run / "config.yaml").is_file():
        raise foreign_folder(run, "choose another run.name", key="run.name")
    notice(f"{run} has no checkpoint yet; training starts at step 0")
    return True


def step_of(file: Path) -> int | None:
    """The number of updates that the weights in a checkpoint have seen; None if the file is damaged in any bit."""
    try:
        step: int = load(file)["global_step"]
        return step
    except Exception:  # every kind of damage raises a different type
        return None


def load(file: Path) -> dict[str, Any]:
    """A checkpoint on the CPU: tensors and plain values, never code. Raises an error of some type if it is damaged."""
    if not file.is_file():
        raise ValueError("not a file")
    check_archive(file)
    checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if checkpoint.get("global_step") == 0 and checkpoint.get("optimizer_states") == []:
        checkpoint.setdefault("loops", {})  # imported weights, before the first step
    if missing := [part for part in PARTS if part not in checkpoint]:
        raise ValueError(f"{missing[0]} is missing")
    for part, kind in PARTS.items():
        if not isinstance(checkpoint[part], kind):
            raise ValueError(f"{part} is not a {kind.__name__}")
    if not all(isinstance(state, dict) and "param_groups" in state for state in checkpoint["optimizer_states"]):
        raise ValueError("optimizer_states have no param_groups")
    for name in ("state_dict", "current_model_state"):
        if not all(isinstance(value, torch.Tensor) for value in checkpoint.get(name, {}).values()):
            raise ValueError(f"{name} holds something other than tensors")
    return checkpoint


def read(file: Path) -> dict[str, Any]:
    """Like `load`. Raises ConfigError if the file is damaged."""
    try:
        return load(file)
    except Exception as error:  # every kind of damage raises a different type
        raise ConfigError(
            f"{file} is damaged or not a checkpoint of lit_diffusion ({type(error).__name__}); use another one", key=KEY
        ) from error


def check(
    file: Path, module: nn.Module, optimizers: Sequence[Optimizer] = (), settings: Settings | None = None
) -> dict[str, Any]:
    """The content of `file`. Raises ConfigError unless it is an intact checkpoint whose weights fit `module`, and whose
    states `optimizers`; the message names what differs from `settings`, if the file holds those of its run.

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
            f"{file} holds another architecture: {len(differences)} weights differ, first {name}: {theirs} in the file "
            f"and {ours} in the model; {_remedy(checkpoint, settings, 'model')}",
            key=KEY,
        )
    if states or checkpoint["global_step"]:
        for i, optimizer in enumerate(optimizers):
            # schedules add settings of their own, as initial_lr
            groups = states[i]["param_groups"] if i < len(states) else []
            if not (groups and set(optimizer.param_groups[0]) <= set(groups[0])):
                raise ConfigError(
                    f"{file} holds the state of another optimizer than {type(optimizer).__name__}; "
                    f"{_remedy(checkpoint, settings, 'model.optimizer')}",
                    key=KEY,
                )
    return checkpoint


def _remedy(checkpoint: dict[str, Any], settings: Settings | None, key: str) -> str:
    """What to do about a checkpoint of other settings at or below a key."""
    theirs = checkpoint.get("settings") or {}
    changed = list_changes(theirs, settings, [key]) if theirs and settings else []
    classes = [name for name in changed if not any(name != other and is_within(name, [other]) for other in changed)]
    known = ", ".join(f"{name} {theirs[name]}" for name in classes if name in theirs)
    return f"use its settings: {known}" if known else "use the config.yaml next to the checkpoints"


def steps_in(folder: Path) -> list[tuple[int, Path]]:
    """The files of steps, `step=N.ckpt`, with their N."""
    numbers = [(file.stem.removeprefix("step="), file) for file in folder.glob("step=*.ckpt")]
    return [(int(number), file) for number, file in numbers if number.isdecimal()]
