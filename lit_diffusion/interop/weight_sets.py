"""Which weights a source holds: averaged ("ema"), "raw", or both, from which the user chooses."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_diffusion.errors import ConfigError

AVERAGED = re.compile(r"(^|[^a-z])(ema|averaged?)([^a-z]|$)")
NOT_AVERAGED = re.compile(r"(^|[^a-z])((no|non|not|without)[_-]?ema|ema[_-](off|none))([^a-z]|$)")
RAW = re.compile(r"^model_?\d+\.|^diffusion_(?!pytorch_)\w+_model")  # names of improved-diffusion, pytorch_diffusion
LISTED = 5  # weights, optimizer, epoch, step, average: what DDIM's code (Song et al. 2021) saves


def guess_kind(path: Path) -> str | None:
    """What the name of a file, else of its folder, says by the customs of the code bases; None if nothing.

    >>> [guess_kind(Path(f"logs/{name}")) for name in ("ema_0.9999_500000.pt", "model500000.pt", "cifar10.pt")]
    ['ema', 'raw', None]
    """
    names = [path.name.lower(), path.absolute().parent.name.lower()]
    for name in names:  # what a name says comes before what it is by custom
        if NOT_AVERAGED.search(name):
            return "raw"
        if AVERAGED.search(name):
            return "ema"
    return "raw" if any(map(RAW.search, names)) else None


def choose(content: Any, wanted: str | None, file: Path) -> tuple[Any, str | None]:
    """The state dict in what a file of torch holds, and its kind if the file says so; other content is returned as it
    is. wanted: "ema", "raw", or None for the average if there is one.

    Raises ConfigError if the file holds several sets of weights of which none is the one wanted.
    """
    if isinstance(content, list | tuple) and len(content) == LISTED:
        content = {"weights": content[0], "ema": content[-1]}
    if not isinstance(content, Mapping) or is_state_dict(content):
        return content, None
    names = [key for key in content if isinstance(key, str)]
    averaged = [key for key in names if AVERAGED.search(key.lower())]
    kind = (wanted or "ema") if averaged else None
    candidates = averaged if kind == "ema" else [key for key in names if key not in averaged]
    found = [key for key in candidates if is_state_dict(content[key])]
    if "state_dict" in found:
        found = ["state_dict"]
    if len(found) == 1:
        return content[found[0]], kind
    if averaged or len(found) > 1:
        raise ConfigError(
            f"{file}: expected one set of {'averaged' if kind == 'ema' else 'raw'} weights, got {len(found)} among "
            f"{', '.join(names)}; save the state dict to import in a file of its own, or choose others by --weights"
        )
    return content, None


def is_state_dict(content: Any) -> bool:
    """Whether this holds tensors by name, one of them at least a matrix."""
    return (
        isinstance(content, Mapping)
        and all(isinstance(key, str) and isinstance(one, Tensor) for key, one in content.items())
        and any(one.ndim > 1 for one in content.values())
    )


def settle(holds: str | None, guess: str | None, asked: str | None, source: str) -> tuple[str, str | None]:
    """The kind of the weights that are imported, and a note for the user where it is an assumption.

    holds: what the source says; guess: what its name says; asked: --weights. Raises ConfigError if the source does not
    hold what the user asked for.
    """
    words = {"ema": "averaged weights", "raw": "raw weights"}
    if holds and asked and holds != asked:
        raise ConfigError(f"--weights: expected {holds}, since {source} holds {words[holds]}; got {asked}; omit it")
    if holds or asked:
        return holds or asked or "", None
    assumed = guess or "ema"
    other = "raw" if assumed == "ema" else "ema"
    why = "by their name" if guess else "the source does not say"
    return assumed, None if guess == "ema" else f"taken as {words[assumed]} ({why}); --weights {other} if not"
