"""Denoising diffusion models (Ho et al. 2020, Sohl-Dickstein et al. 2015) as a Lightning experiment framework.

At a Python prompt, `lit_diffusion.load("runs/X").sample(16)`: see `load`, `train` and `score`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
# importing the package must stay cheap, and these import torch and Lightning
API = ("TrainedModel", "load", "score", "train")


def __getattr__(name: str) -> Any:
    if name in API:
        return getattr(import_module("lit_diffusion.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *API]
