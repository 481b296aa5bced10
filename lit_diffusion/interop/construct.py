"""Objects of ours from a configuration, without a trainer: what their constructors say of it, in seconds."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_origin

import torch
from torch import nn

import lit_diffusion.diffusion
import lit_diffusion.nn
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.errors import ConfigError

CLASSES: dict[str, type] = {
    name: getattr(room, name) for room in (lit_diffusion.diffusion, lit_diffusion.nn) for name in room.__all__
}


def spec_of(value: Any) -> tuple[str, dict[str, Any]] | None:
    """Short name and arguments of what names a class, `Name` or `{class_path: Name, init_args: {...}}`; else None."""
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        return value["class_path"].rpartition(".")[2], dict(value.get("init_args") or {})
    if isinstance(value, str) and value.rpartition(".")[2] in CLASSES:
        return value.rpartition(".")[2], {}
    return None


def name_of(value: Any, otherwise: str = "none") -> str:
    """The short name of a class that a configuration names."""
    spec = spec_of(value)
    return spec[0] if spec else otherwise


def accepted(name: str) -> Mapping[str, inspect.Parameter]:
    """The arguments of a class of ours, by its short name. Raises ConfigError for another's."""
    if name not in CLASSES:
        raise ConfigError(f"{name} is no class of lit_diffusion, and only those are known here")
    return inspect.signature(CLASSES[name]).parameters


def complete(value: Any) -> dict[str, Any]:
    """The arguments of a class that a configuration names, those that it leaves out with their defaults."""
    name, given = spec_of(value) or ("", {})
    defaults = {key: one.default for key, one in accepted(name).items() if one.default is not one.empty}
    return {**defaults, **given}


def built(value: Any, annotation: Any = None) -> Any:
    """What a configuration's value stands for: an object of the class that it names, or the class with its arguments
    where a callable is asked for, as networks are; else the value.
    """
    if isinstance(value, Mapping) and "class_path" not in value and annotation in CLASSES.values():
        value = {"class_path": annotation.__name__, "init_args": value.get("init_args", value)}
    spec = spec_of(value)
    if spec is None:
        return value
    name, given = spec
    known = accepted(name)
    if unknown := [key for key in given if key not in known]:
        raise ConfigError(f"{name} takes no {unknown[0]}; write one of {', '.join(known)}")
    arguments = {key: built(one, known[key].annotation) for key, one in given.items()}
    make = partial(CLASSES[name], **arguments)
    if get_origin(annotation) is Callable:
        return make
    try:
        return make()
    except (TypeError, RuntimeError) as error:
        raise ConfigError(f"{name} cannot be made of {given}: {error}") from error


def reverse_of(model: Mapping[str, Any]) -> ReverseModel:
    """The reverse model among the arguments of DiffusionModule in a configuration, its network without memory for
    weights (on torch's meta device).

    Raises ConfigError where its parts do not fit each other, or are not ours.
    """
    name, given = spec_of(model["reverse"]) or ("", {})
    network = built(given.get("network"), Callable[[int, int], nn.Module])

    def on_meta(in_channels: int, out_channels: int) -> nn.Module:
        with torch.device("meta"):
            made: nn.Module = network(in_channels, out_channels)
        return made

    known = accepted(name)
    others = {key: built(one, known[key].annotation) for key, one in given.items() if key != "network" and key in known}
    reverse: ReverseModel = CLASSES[name](network=on_meta, **others)
    return reverse.eval()
