"""Objects of lit_diffusion from a configuration without a trainer, so that commands check it within seconds."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_origin

import torch
from torch import nn

import lit_diffusion.diffusion
import lit_diffusion.nn
from lit_diffusion.config.keys import last_part, shorten_class
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.errors import ConfigError, first_words, one_line

# base classes are exported too, but no configuration names them
CLASSES: dict[str, type] = {
    name: found
    for room in (lit_diffusion.diffusion, lit_diffusion.nn)
    for name in room.__all__
    if not inspect.isabstract(found := getattr(room, name)) and found is not NoiseSchedule
}


def parse_spec(value: Any) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of a class in a configuration, `Name` or `{class_path: Name, init_args: {...}}`; None for
    other values. The name is short for a class of lit_diffusion, the full path for others.
    """
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        arguments = value.get("init_args") or {}
        if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
            raise ConfigError(f"{value['class_path']}: init_args: expected names and values, got {one_line(arguments)}")
        return shorten_class(value["class_path"]), dict(arguments)
    if isinstance(value, str) and shorten_class(value) in CLASSES:
        return shorten_class(value), {}
    return None


def class_name(value: Any, otherwise: str = "none") -> str:
    """The short name of the class that a configuration names; `otherwise` if it names none."""
    spec = parse_spec(value)
    return spec[0] if spec else otherwise


def parse_data(value: Any) -> tuple[str, Mapping[str, Any]]:
    """The short name of the data set in a configuration, from any package, and its arguments.

    >>> parse_data({"class_path": "my_package.Birds", "init_args": {"size": 64}}), parse_data("Digits")
    (('Birds', {'size': 64}), ('Digits', {}))
    """
    if isinstance(value, Mapping):
        return last_part(str(value.get("class_path"))), value.get("init_args") or {}
    return last_part(str(value)), {}


def find_parameters(name: str) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class of lit_diffusion, by its short name. Raises ConfigError for other classes."""
    if name not in CLASSES:
        raise ConfigError(
            f"expected a class of lit_diffusion, got {one_line(name) or 'an unnamed class'}; this command supports no "
            "others"
        )
    return inspect.signature(CLASSES[name]).parameters


def with_defaults(value: Any) -> dict[str, Any]:
    """The arguments of the class that a configuration names, including defaults."""
    name, given = parse_spec(value) or ("", {})
    defaults = {key: one.default for key, one in find_parameters(name).items() if one.default is not one.empty}
    return {**defaults, **given}


def build(value: Any, annotation: Any = None) -> Any:
    """What a configuration's value stands for: an object of the class that it names; the class with its arguments bound
    if the annotation is a callable, as for networks; else the value.
    """
    spec = parse_spec(name_class(value, annotation))
    if spec is None:
        return value
    name, arguments = spec[0], build_arguments(*spec)
    return partial(CLASSES[name], **arguments) if get_origin(annotation) is Callable else make(name, arguments)


def name_class(value: Any, annotation: Any) -> Any:
    """Adds the class name to bare arguments if the annotation is a concrete class."""
    if not isinstance(value, Mapping) or "class_path" in value or annotation not in CLASSES.values():
        return value
    return {"class_path": annotation.__name__, "init_args": value.get("init_args", value)}


def expand_classes(value: Any, annotation: Any = None) -> Any:
    """A configuration's value with `class_path` and `init_args` wherever it names a class of lit_diffusion, so that
    `${...}` references resolve.
    """
    spec = parse_spec(name_class(value, annotation))
    if spec is None or spec[0] not in CLASSES:
        return value
    known = find_parameters(spec[0])
    given = {key: expand_classes(one, known[key].annotation if key in known else None) for key, one in spec[1].items()}
    return {"class_path": spec[0], "init_args": given}


def build_arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a class of lit_diffusion, built. Raises ConfigError for an unknown argument."""
    known = find_parameters(name)
    if unknown := [key for key in given if key not in known]:
        raise ConfigError(f"{name} has no argument {one_line(unknown[0])}; use one of {', '.join(known)}")
    return {key: build(one, known[key].annotation) for key, one in given.items()}


def make(name: str, arguments: Mapping[str, Any]) -> Any:
    """An object of a class of lit_diffusion. Raises ConfigError if its constructor fails."""
    try:
        return CLASSES[name](**arguments)
    except ConfigError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"could not build {name} from these settings: {first_words(error)}") from error


def build_part(value: Any, kind: type[Any]) -> Any:
    """The object that a configuration's value stands for. Raises ConfigError unless it is an instance of `kind`."""
    found = build(value)
    if not isinstance(found, kind):
        raise ConfigError(f"expected a {kind.__name__} of lit_diffusion, got {one_line(value)[:80]}")
    return found


def build_reverse(model: Mapping[str, Any]) -> ReverseModel:
    """The reverse model in the arguments of DiffusionModule, with its network on torch's meta device, which allocates
    no weights.

    Raises ConfigError if its parts are incompatible or of another package.
    """
    name, given = parse_spec(model.get("reverse")) or ("", {})
    arguments = build_arguments(name, given)

    def on_meta(in_channels: int, out_channels: int) -> nn.Module:
        with torch.device("meta"):
            network: nn.Module = arguments["network"](in_channels, out_channels)
        return network

    if not callable(arguments.get("network")):
        raise ConfigError(f"{name}: network: expected a network, got {one_line(given.get('network'))}; use UNet")
    reverse = make(name, {**arguments, "network": on_meta})
    if not isinstance(reverse, ReverseModel):
        raise ConfigError(f"expected a reverse model, got {name}; use GaussianReverse")
    return reverse.eval()
