"""The configuration around a model that comes with none: data, objective, optimizer of a shipped recipe."""

import importlib
import inspect
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_diffusion.config import sources as config_sources
from lit_diffusion.config.keys import PACKAGE, shorten_class
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.interop.construct import CLASSES, name_of_data, spec_of, written_out

# Images (channels, size) of the data sets that have one size, and the recipe for such images.
SHAPES = {"CIFAR10": (3, 32), "MNIST": (1, 28), "FashionMNIST": (1, 28), "Digits": (1, 8)}
OF_SHAPE = {(3, 32): "cifar10", (1, 28): "mnist", (1, 8): "digits"}
# The recipe of a data set of colour images that a source has in its name.
OF_WORD = {
    "cifar10": "cifar10",
    "celebahq": "celebahq",
    "bedroom": "lsun_bedroom",
    "church": "lsun_church",
    "cat": "lsun_cat",
}
# What may be passed on: of a machine, a user or an account say nothing.
PUBLIC = ("seed_everything", "model", "data", "ema", "grids", "scores", "bits_per_dim", "divergence", "checkpoint")
TRAINER = (
    *(
        "max_steps",
        "max_epochs",
        "accumulate_grad_batches",
        "gradient_clip_val",
        "gradient_clip_algorithm",
        "precision",
    ),
    *("val_check_interval", "log_every_n_steps"),
)


def read(names: Iterable[str]) -> dict[str, Any]:
    """Configuration files, here or shipped, each laid over those before it, `${...}` resolved."""
    recipe: dict[str, Any] = {}
    for name in names:
        recipe = overlaid(recipe, config_sources.read(config_sources.find(name)))
    if not (references := repr(recipe).count("${")):
        return recipe
    if references > config_sources.MOST_REFERENCES:
        raise ConfigError(f"{' and '.join(names)}: {references} times ${{...}} are too many")
    OmegaConf.clear_resolver("oc.env")
    if is_ours(recipe):
        arguments = recipe["model"]["init_args"]
        recipe = {
            **recipe,
            "model": {**recipe["model"], "init_args": {k: written_out(v) for k, v in arguments.items()}},
        }
    try:
        resolved: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(recipe), resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{' and '.join(names)}: a ${{...}} leads nowhere ({first_words(error)})") from error
    return resolved


def checked(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    """A recipe, if it has a model and data. Raises ConfigError, with its name, if not."""
    if not is_ours(recipe) or not recipe.get("data"):
        raise ConfigError(
            f"{name}: a recipe says `model`, with a reverse model, and `data`; write -c configs/cifar10.yaml before "
            "overlays"
        )
    return recipe


def is_ours(recipe: Mapping[str, Any]) -> bool:
    """Whether a configuration has a model of this package."""
    model = recipe.get("model")
    arguments = model.get("init_args") if isinstance(model, Mapping) else None
    return isinstance(arguments, Mapping) and spec_of(arguments.get("reverse")) is not None


def public(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's configuration says to others: without folders, loggers, devices; of paths the last part."""
    kept = {key: without_paths(config[key]) for key in PUBLIC if key in config}
    trainer = {key: config["trainer"][key] for key in TRAINER if key in (config.get("trainer") or {})}
    return {**kept, **({"trainer": trainer} if trainer else {})}


def without_paths(value: Any) -> Any:
    """With the last part of every absolute path."""
    if isinstance(value, Mapping):
        return {key: without_paths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_paths(one) for one in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def overlaid(below: Any, above: Any) -> Any:
    """`above` where it says something, else `below`. Another class keeps the arguments that it takes too, as on the
    command line.
    """
    old = spec_of(below)
    new = spec_of(above) or ((shorten_class(above), {}) if old and isinstance(above, str) else None)
    if new and old:
        taken = old[1] if new[0] == old[0] else taken_by(new[0], old[0])
        kept = {key: value for key, value in old[1].items() if key in taken}
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


def taken_by(name: str, instead_of: str) -> Container[str]:
    """Arguments of a class of ours, or of torch.optim; none of another's. instead_of: a class of its kind."""
    if name in CLASSES:
        return inspect.signature(CLASSES[name]).parameters
    rooms = [name.rpartition(".")[0]] if name.startswith("torch.optim.") else []
    if instead_of not in CLASSES and "." not in name:
        rooms.append(f"{PACKAGE}.data")  # brings Lightning along, and so waits until it is needed
    found = (getattr(importlib.import_module(room), name.rpartition(".")[2], None) for room in rooms)
    kind = next((one for one in found if isinstance(one, type)), None)
    return inspect.signature(kind).parameters if kind else ()


def guessed(name: str, channels: int, size: int | None) -> str:
    """The shipped recipe for a model: by the data set in its source's name, else by its images. Raises ConfigError."""
    for part in reversed(Path(name).parts[-2:]):
        words = re.sub(r"(cifar|celeba)[-_]?(10|hq)(?![0-9])", r"\1\2", part.lower())
        for word in re.split(r"[^a-z0-9]+", words):
            if word in OF_WORD and channels == 3:
                return f"configs/{OF_WORD[word]}.yaml"
    if size and (channels, size) in OF_SHAPE:
        return f"configs/{OF_SHAPE[channels, size]}.yaml"
    images = f"{size}x{size} images" if size else "images"
    raise ConfigError(
        f"{name} is a model of {images} of {channels} channels, and says nothing of its data; write -c with the "
        "configuration of its data and recipe, as -c configs/lsun_bedroom.yaml"
    )


def with_images(data: Any, channels: int, size: int | None, recipe: str) -> Any:
    """`data` of a recipe for images of that size, where it can be said. Raises ConfigError where they have another."""
    name = name_of_data(data)
    if name in SHAPES and SHAPES[name] != (channels, size or SHAPES[name][1]):
        own = SHAPES[name]
        raise ConfigError(
            f"{recipe}: {name} has {own[1]}x{own[1]} images of {own[0]} channels, the model {size}x{size} of "
            f"{channels}; write -c with data that fit"
        )
    arguments = (data.get("init_args") or {}) if isinstance(data, Mapping) else {}
    own = {"channels": channels} if name == "ImageFolder" and arguments.get("channels", 3) != channels else {}
    if size and "size" in arguments:
        own["size"] = size
    return {**data, "init_args": {**arguments, **own}} if own and isinstance(data, Mapping) else data


def image_size(data: Any) -> int | None:
    """The size of the square images of a configuration's `data`; None where it is not said."""
    arguments = (data.get("init_args") or {}) if isinstance(data, Mapping) else {}
    size = arguments.get("size", SHAPES.get(name_of_data(data), (None, None))[1])
    return size if isinstance(size, int) else None
