"""The configuration around a model that has none: data, objective and optimizer of a shipped recipe."""

import importlib
import inspect
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_diffusion.config import config_files
from lit_diffusion.config.keys import PACKAGE, shorten_class
from lit_diffusion.config.relevance import ROOT_IS_THE_DATA
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.interop.construct import CLASSES, expand_classes, parse_data, parse_spec

# (channels, size) of the images of the data sets that have one size, and the recipe for such images.
SHAPES = {"CIFAR10": (3, 32), "MNIST": (1, 28), "FashionMNIST": (1, 28), "Digits": (1, 8)}
RECIPES = {(3, 32): "cifar10", (1, 28): "mnist", (1, 8): "digits"}
# The recipe of a data set of colour images whose name is part of a source's name.
RECIPES_BY_WORD = {
    "cifar10": "cifar10",
    "celebahq": "celebahq",
    "bedroom": "lsun_bedroom",
    "church": "lsun_church",
    "cat": "lsun_cat",
}
# Settings to publish: they contain nothing about a machine, a user or an account.
PUBLIC = ("seed_everything", "model", "data", "ema", "grids", "scores", "bits_per_dim", "divergence", "checkpoint")
TRAINER = (
    *("max_steps", "max_epochs", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("precision", "val_check_interval", "log_every_n_steps"),
)


def read(names: Iterable[str]) -> dict[str, Any]:
    """Configuration files, local or shipped, each overriding those before it, with `${...}` resolved."""
    recipe: dict[str, Any] = {}
    for name in names:
        recipe = overlay(recipe, config_files.read(config_files.find(name)))
    if not (references := repr(recipe).count("${")):
        return recipe
    if references > config_files.MOST_REFERENCES:
        raise ConfigError(
            f"{' and '.join(names)}: expected at most {config_files.MOST_REFERENCES} references ${{...}}, got "
            f"{references}"
        )
    OmegaConf.clear_resolver("oc.env")
    if is_ours(recipe):
        arguments = recipe["model"]["init_args"]
        recipe = {
            **recipe,
            "model": {**recipe["model"], "init_args": {k: expand_classes(v) for k, v in arguments.items()}},
        }
    try:
        resolved: Any = OmegaConf.to_container(OmegaConf.create(recipe), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{' and '.join(names)}: could not resolve ${{...}}: {first_words(error)}") from error
    return dict(resolved)


def check(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a recipe. Raises ConfigError, with its name, unless it has a model and data."""
    if not is_ours(recipe) or not recipe.get("data"):
        raise ConfigError(
            f"{name}: expected a recipe with `data` and a `model` with a reverse model; add -c configs/cifar10.yaml or "
            "another complete file before overlays"
        )
    return recipe


def is_ours(recipe: Mapping[str, Any]) -> bool:
    """Whether a configuration has a model with a reverse model."""
    model = recipe.get("model")
    arguments = model.get("init_args") if isinstance(model, Mapping) else None
    return isinstance(arguments, Mapping) and parse_spec(arguments.get("reverse")) is not None


def make_public(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration to publish: without folders, loggers and devices, and with only the last part of paths."""
    kept = {key: strip_paths(config[key]) for key in PUBLIC if key in config}
    trainer = {key: config["trainer"][key] for key in TRAINER if key in (config.get("trainer") or {})}
    return {**kept, **({"trainer": trainer} if trainer else {})}


def strip_paths(value: Any) -> Any:
    """Replaces every absolute path by its last part."""
    if isinstance(value, Mapping):
        return {key: strip_paths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [strip_paths(one) for one in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def overlay(below: Any, above: Any) -> Any:
    """`above` merged over `below`. If `above` changes a class, arguments that the new class also has are kept, like on
    the command line.
    """
    old = parse_spec(below)
    new = parse_spec(above) or ((shorten_class(above), {}) if old and isinstance(above, str) else None)
    if new and old:
        taken = old[1] if new[0] == old[0] else accepted_arguments(new[0], old[0])
        kept = {key: value for key, value in old[1].items() if key in taken}
        arguments = {key: overlay(kept[key], value) if key in kept else value for key, value in new[1].items()}
        return {"class_path": new[0], "init_args": {**kept, **arguments}}
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        below, above = align_arguments(below, above), align_arguments(above, below)
        return {**below, **{key: overlay(below[key], one) if key in below else one for key, one in above.items()}}
    if isinstance(above, Mapping) and set(above) == {"init_args"} and old:
        return {"class_path": old[0], "init_args": {**old[1], **above["init_args"]}}
    return above


def align_arguments(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bare arguments as `init_args` if the other file writes them like that."""
    return {"init_args": one} if "init_args" in other and not {"init_args", "class_path"} & one.keys() else one


def accepted_arguments(name: str, instead_of: str) -> Container[str]:
    """The arguments of a class of lit_diffusion or torch.optim; empty for others. instead_of: the class replaced."""
    if name in CLASSES:
        return inspect.signature(CLASSES[name]).parameters
    rooms = [name.rpartition(".")[0]] if name.startswith("torch.optim.") else []
    if instead_of not in CLASSES and "." not in name:
        rooms.append(f"{PACKAGE}.data")  # imports Lightning, so only if needed
    found = (getattr(importlib.import_module(room), name.rpartition(".")[2], None) for room in rooms)
    kind = next((one for one in found if isinstance(one, type)), None)
    return inspect.signature(kind).parameters if kind else ()


def guess(name: str, channels: int, size: int | None) -> str:
    """The shipped recipe for a model: by the data set in its source's name, else by its images.

    Raises ConfigError if there is none.
    """
    for part in reversed(Path(name).parts[-2:]):
        words = re.sub(r"(cifar|celeba)[-_]?(10|hq)(?![0-9])", r"\1\2", part.lower())
        for word in re.split(r"[^a-z0-9]+", words):
            if word in RECIPES_BY_WORD and channels == 3:
                return f"configs/{RECIPES_BY_WORD[word]}.yaml"
    if size and (channels, size) in RECIPES:
        return f"configs/{RECIPES[channels, size]}.yaml"
    images = f"{size}x{size} images" if size else "images"
    raise ConfigError(
        f"{name}: no recipe for {images} of {channels} channels; add -c with a configuration of the data and recipe, "
        "such as -c configs/lsun_bedroom.yaml"
    )


def set_images(data: Any, channels: int, size: int | None, recipe: str) -> Any:
    """A recipe's `data` set to these images. Raises ConfigError if the data set has others."""
    name, arguments = parse_data(data)
    if name in SHAPES and SHAPES[name] != (channels, size or SHAPES[name][1]):
        has_channels, side = SHAPES[name]
        raise ConfigError(
            f"{recipe}: {name} has {side}x{side} images of {has_channels} channels, but the model {size}x{size} of "
            f"{channels}; add -c with such data"
        )
    changed = {"channels": channels} if name in ROOT_IS_THE_DATA and arguments.get("channels", 3) != channels else {}
    if size and "size" in arguments:
        changed["size"] = size
    return {**data, "init_args": {**arguments, **changed}} if changed and isinstance(data, Mapping) else data


def image_size(data: Any) -> int | None:
    """The side length in pixels of the images of a configuration's `data`; None if unknown."""
    name, arguments = parse_data(data)
    size = arguments.get("size", SHAPES.get(name, (None, None))[1])
    return size if isinstance(size, int) else None
