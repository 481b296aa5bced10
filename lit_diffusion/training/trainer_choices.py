"""Settings of Lightning's trainer that choose among names, callbacks among them, and those that no run can use."""

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry

from lit_diffusion.callbacks import Prediction
from lit_diffusion.config.class_choices import OFFERED, USE_INSTEAD, import_object, parameters_of
from lit_diffusion.config.keys import PACKAGE, is_within, last_part
from lit_diffusion.config.suggestions import nearest
from lit_diffusion.errors import ConfigError

HALF = ("16", "16-mixed", "16-true")  # float16, which CPUs do not compute with
SHARDING = ("fsdp", "deepspeed")  # leave no whole weights to average


def check_choices(trainer: Namespace) -> None:
    """Raises ConfigError for a name that Lightning, or this machine, does not know, and for no device."""
    for setting, what, names in choices():
        value = trainer[setting]
        if isinstance(value, str) and value.lower() not in names:
            short = [name for name in names if "_" not in name]
            raise ConfigError(
                f"expected {what}, one of {', '.join(short)}; got {value}; use {nearest(value, short) or short[0]}",
                key=f"trainer.{setting}",
            )
    on_cpu = trainer.accelerator == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if on_cpu and str(trainer.precision) in HALF:
        raise ConfigError(
            f"expected 32-true or bf16-mixed on a CPU, got {trainer.precision}; use bf16-mixed", key="trainer.precision"
        )
    if trainer.devices in (0, "0", []):
        raise ConfigError(f"expected 1 or more, or auto; got {trainer.devices}", key="trainer.devices")


def choices() -> Iterator[tuple[str, str, list[str]]]:
    """Settings of the trainer, what they name, and the names, the usual one first."""
    here = [name for name in sorted(AcceleratorRegistry) if AcceleratorRegistry[name]["accelerator"].is_available()]
    gpu = ["gpu"] if {"cuda", "mps"}.intersection(here) else []
    yield "accelerator", "an accelerator of this machine", [*here, *gpu, "auto"]
    whole = [name for name in StrategyRegistry.available_strategies() if not name.startswith(SHARDING)]
    yield "strategy", "a strategy that keeps the weights whole", ["auto", *whole]
    yield "profiler", "a profiler", ["simple", "advanced", "pytorch", "xla"]
    yield "gradient_clip_algorithm", "an algorithm", ["norm", "value"]


def check_classes(trainer: Namespace, keys: dict[str, str]) -> None:
    """Raises ConfigError for a callback or logger that every run has, and for Lightning's that a run cannot use. keys:
    those of our callbacks, by the names of their classes.
    """
    for setting in ("callbacks", "logger"):
        given = trainer[setting]
        for one in given if isinstance(given, list) else [given]:
            path = one.class_path if isinstance(one, Namespace) else ""
            name = last_part(path)
            if is_within(path, [PACKAGE]) and name not in OFFERED:
                cls = import_object(path)
                first = next(iter(parameters_of(cls)), "") if name in keys else ""
                instead = f"use --{keys[name]}.{first}" if first else "omit it"
                if inspect.isclass(cls) and issubclass(cls, Prediction):
                    instead = f"use `predict --prediction={name}`"
                raise ConfigError(f"expected no {name}, which every run has; {instead}", key=f"trainer.{setting}")
            if is_within(path, ["lightning"]) and name in USE_INSTEAD:
                raise ConfigError(
                    f"expected no {name}, whose work a run does by settings of its own; use --{USE_INSTEAD[name]}",
                    key=f"trainer.{setting}",
                )


def as_plain(value: Any) -> Any:
    """Settings, or one of them, with defaults that YAML cannot represent as the text that stands for them."""
    if isinstance(value, Namespace):
        for name, one in vars(value).items():
            setattr(value, name, as_plain(one))
    elif isinstance(value, list):
        return [as_plain(one) for one in value]
    elif isinstance(value, str) and isinstance(value, Enum):
        return str(value.value)
    return str(value) if isinstance(value, torch.device) else value
