"""Checkpoint files, looked at before anything starts."""

from pathlib import Path

import torch
from torch import nn

from lit_diffusion.errors import ConfigError

KEY = "ckpt_path"


def find(path: str, run: Path) -> Path:
    """The file that `--ckpt_path` names; `best` and `last` are those of the run folder `run`.

    Raises ConfigError where it does not exist.
    """
    file = run / "checkpoints" / f"{path}.ckpt" if path in ("best", "last") else Path(path)
    if not file.is_file():
        made = sorted(str(other) for other in file.parent.glob("*.ckpt"))
        instead = f"write one of {', '.join(made)}" if made else "write the path of a .ckpt file"
        raise ConfigError(f"there is no checkpoint {file}; {instead}", key=KEY)
    return file


def check(file: Path, module: nn.Module) -> None:
    """Raises ConfigError unless `file` is a whole checkpoint whose weights fit `module`.

    Only tensors and plain values are read, never code.
    """
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
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
