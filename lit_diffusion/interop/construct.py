"""Objects of ours from a configuration, without a trainer: what their constructors say of it, in seconds."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, get_origin

import torch
from torch import nn

import lit_diffusion.diffusion
import lit_diffusion.nn
from lit_diffusion.config.keys import last_part, shorten_class
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.errors import ConfigError, first_words, one_line

Kind = TypeVar("Kind")
CLASSES: dict[str, type] = {
    name: getattr(room, name) for room in (lit_diffusion.diffusion, lit_diffusion.nn) for name in room.__all__
}


def spec_of(value: Any) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of what names a class, `Name` or `{class_path: Name, init_args: {...}}`; else None. The name
    is short for a class of ours, a whole path for another's.
    """
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        arguments = value.get("init_args") or {}
        if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
            raise ConfigError(f"{value['class_path']}: init_args hold {one_line(arguments)}; write names and values")
        return shorten_class(value["class_path"]), dict(arguments)
    if isinstance(value, str) and shorten_class(value) in CLASSES:
        return shorten_class(value), {}
    return None


def name_of(value: Any, otherwise: str = "none") -> str:
    """The short name of a class that a configuration names."""
    spec = spec_of(value)
    return spec[0] if spec else otherwise


def name_of_data(value: Any) -> str:
    """The short name of the data set that a configuration names, ours or another's."""
    return last_part(str(value.get("class_path") if isinstance(value, Mapping) else value))


def accepted(name: str) -> Mapping[str, inspect.Parameter]:
    """The arguments of a class of ours, by its short name. Raises ConfigError for another's."""
    if name not in CLASSES:
        raise ConfigError(
            f"{one_line(name) or 'an unnamed class'} is none of lit_diffusion, and only those are known here"
        )
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
    spec = spec_of(as_class(value, annotation))
    if spec is None:
        return value
    name, arguments = spec[0], arguments_of(*spec)
    return partial(CLASSES[name], **arguments) if get_origin(annotation) is Callable else made(name, arguments)


def as_class(value: Any, annotation: Any) -> Any:
    """Arguments alone, where a class is asked for that is not abstract, with its name."""
    if not isinstance(value, Mapping) or "class_path" in value or annotation not in CLASSES.values():
        return value
    return {"class_path": annotation.__name__, "init_args": value.get("init_args", value)}


def written_out(value: Any, annotation: Any = None) -> Any:
    """A configuration's value with `class_path` and `init_args` wherever it names a class of ours, so that references
    find what they name.
    """
    spec = spec_of(as_class(value, annotation))
    if spec is None or spec[0] not in CLASSES:
        return value
    known = accepted(spec[0])
    given = {key: written_out(one, known[key].annotation if key in known else None) for key, one in spec[1].items()}
    return {"class_path": spec[0], "init_args": given}


def arguments_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a class of ours, built. Raises ConfigError for one that it does not take."""
    known = accepted(name)
    if unknown := [key for key in given if key not in known]:
        raise ConfigError(f"{name} takes no {one_line(unknown[0])}; write one of {', '.join(known)}")
    return {key: built(one, known[key].annotation) for key, one in given.items()}


def made(name: str, arguments: Mapping[str, Any]) -> Any:
    """An object of a class of ours. Raises ConfigError where its constructor does."""
    try:
        return CLASSES[name](**arguments)
    except ConfigError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"{name} cannot be made of its settings ({first_words(error)})") from error


def part(value: Any, kind: type[Kind]) -> Kind:
    """What a configuration's value stands for, if it is of that kind. Raises ConfigError otherwise."""
    found = built(value)
    if not isinstance(found, kind):
        raise ConfigError(
            f"{one_line(value)[:80]} is no {kind.__name__} of lit_diffusion, and only those are known here"
        )
    return found


def reverse_of(model: Mapping[str, Any]) -> ReverseModel:
    """The reverse model among the arguments of DiffusionModule in a configuration, its network without memory for
    weights (on torch's meta device).

    Raises ConfigError where its parts do not fit each other, or are not ours.
    """
    name, given = spec_of(model.get("reverse")) or ("", {})
    arguments = arguments_of(name, given)

    def on_meta(in_channels: int, out_channels: int) -> nn.Module:
        with torch.device("meta"):
            network: nn.Module = arguments["network"](in_channels, out_channels)
        return network

    if not callable(arguments.get("network")):
        raise ConfigError(f"{name}: its network is {one_line(given.get('network'))}; write UNet")
    reverse = made(name, {**arguments, "network": on_meta})
    if not isinstance(reverse, ReverseModel):
        raise ConfigError(f"{name} is no reverse model; write GaussianReverse")
    return reverse.eval()
