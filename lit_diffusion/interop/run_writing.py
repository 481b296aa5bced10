"""The folder of an imported run: config.yaml, a checkpoint at step 0, and its origin."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from lit_diffusion.errors import one_line
from lit_diffusion.runs.atomic_files import folder_written_whole, linked, save

ORIGIN = "origin.json"


def write(
    folder: Path, config: dict[str, Any], state: dict[str, Tensor], origin: dict[str, Any], is_average: bool
) -> None:
    """Writes `folder` atomically, so that `lightning test` scores the model and `lightning fit` continues its training.

    state: of DiffusionModule. is_average: whether the weights are an average, which further training updates; if not,
    its first step starts one.
    """
    with folder_written_whole(folder) as temporary:
        text = f"# Made by lit-diffusion import of {one_line(origin['source'])}.\n"
        text += yaml.safe_dump(config, sort_keys=False, width=120, allow_unicode=True)
        (temporary / "config.yaml").write_text(text, encoding="utf-8")
        (temporary / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        last = temporary / "checkpoints" / "last.ckpt"
        last.parent.mkdir()
        save(checkpoint(state, is_average), last)
        linked(last, last.with_name("best.ckpt"))


def checkpoint(state: dict[str, Tensor], is_average: bool) -> dict[str, Any]:
    """A checkpoint of a run before its first step: weights without state of optimizer, schedules or loops. Raw weights
    and average are the same tensors, which the file stores once.
    """
    return {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": state,
        "current_model_state": state,
        "averaging_state": {"n_averaged": torch.tensor(int(is_average))},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }
