"""The configuration around a model that comes with none: data, objective, optimizer of a shipped recipe."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lit_diffusion import config_sources, strict_yaml
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.construct import CLASSES, accepted, name_of, spec_of

# Images (channels, size) of the data sets that have one size, and the recipe for such images.
SHAPES = {"CIFAR10": (3, 32), "MNIST": (1, 28), "FashionMNIST": (1, 28), "Digits": (1, 8)}
OF_SHAPE = {(3, 32): "cifar10", (1, 28): "mnist", (1, 8): "digits"}
# The recipe of a data set that a source has in its name.
OF_WORD = {
    "cifar10": "cifar10",
    "celebahq": "celebahq",
    "bedroom": "lsun_bedroom",
    "church": "lsun_church",
    "cat": "lsun_cat",
}


def read(names: Iterable[str]) -> dict[str, Any]:
    """Configuration files, here or shipped, each laid over those before it."""
    recipe: dict[str, Any] = {}
    for name in names:
        recipe = overlaid(recipe, of_file(config_sources.find(name)))
    return recipe


def of_file(path: Path) -> dict[str, Any]:
    """The content of a configuration file."""
    content = strict_yaml.load(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no settings; write keys and values, as `trainer: {{max_steps: 1000}}`")
    return content


def checked(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    """A recipe, if it has a model and data. Raises ConfigError, with its name, if not."""
    model = recipe.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("init_args"), dict) or "data" not in recipe:
        raise ConfigError(f"{name}: a recipe says `model` and `data`; write -c configs/cifar10.yaml before overlays")
    if spec_of(model["init_args"].get("reverse")) is None:
        raise ConfigError(f"{name}: model.reverse: no class; write GaussianReverse with its init_args")
    return recipe


def overlaid(below: Any, above: Any) -> Any:
    """`above` where it says something, else `below`. Another class keeps the arguments that it takes too, as on the
    command line.
    """
    old, new = spec_of(below), spec_of(above)
    if new and old:
        kept = old[1] if new[0] == old[0] else {key: old[1][key] for key in old[1] if key in taken_by(new[0])}
        arguments = {key: overlaid(kept[key], value) if key in kept else value for key, value in new[1].items()}
        return {"class_path": new[0], "init_args": {**kept, **arguments}}
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        below, above = with_arguments(below, above), with_arguments(above, below)
        return {**below, **{key: overlaid(below[key], one) if key in below else one for key, one in above.items()}}
    if isinstance(above, Mapping) and set(above) == {"init_args"} and old:
        return {"class_path": old[0], "init_args": {**old[1], **above["init_args"]}}
    return above


def with_arguments(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a class written as `init_args` where the other file writes them so."""
    return {"init_args": one} if "init_args" in other and not {"init_args", "class_path"} & one.keys() else one


def taken_by(name: str) -> Iterable[str]:
    """Arguments of a class, none of one that is not known here."""
    return accepted(name) if name in CLASSES else ()


def guessed(name: str, channels: int, size: int | None) -> str:
    """The shipped recipe for a model: by the data set in its source's name, else by its images. Raises ConfigError."""
    words = (
        re.sub(r"cifar[-_]?10", "cifar10", name.lower())
        .replace("celeba-hq", "celebahq")
        .replace("celeba_hq", "celebahq")
    )
    for word in re.split(r"[^a-z0-9]+", words):
        if word in OF_WORD:
            return f"configs/{OF_WORD[word]}.yaml"
    if size and (channels, size) in OF_SHAPE:
        return f"configs/{OF_SHAPE[channels, size]}.yaml"
    images = f"{size}x{size} images" if size else "images"
    raise ConfigError(
        f"{name} is a model of {images} of {channels} channels, and says nothing of its data; write -c with the "
        "configuration of its data and recipe, as -c configs/lsun_bedroom.yaml"
    )


def with_size(data: Any, channels: int, size: int | None, recipe: str) -> Any:
    """`data` of a recipe for images of that size, where it can be said. Raises ConfigError where they have another."""
    name = name_of(data, otherwise=str((data or {}).get("class_path")).rpartition(".")[2]) if data else ""
    if name in SHAPES and SHAPES[name] != (channels, size or SHAPES[name][1]):
        own = SHAPES[name]
        raise ConfigError(
            f"{recipe}: {name} has {own[1]}x{own[1]} images of {own[0]} channels, the model {size}x{size} of "
            f"{channels}; write -c with data that fit"
        )
    if size and isinstance(data, Mapping) and "size" in (data.get("init_args") or {}):
        return {**data, "init_args": {**data["init_args"], "size": size}}
    return data


def image_size(data: Any) -> int | None:
    """The size of the square images of a configuration's `data`; None where it is not said."""
    arguments = data.get("init_args") or {} if isinstance(data, Mapping) else {}
    name = str(data.get("class_path") if isinstance(data, Mapping) else data).rpartition(".")[2]
    size = arguments.get("size", SHAPES.get(name, (None, None))[1])
    return size if isinstance(size, int) else None
