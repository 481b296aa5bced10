"""What an import reads: weights by another code base's names, and what describes them."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.variance import Variance
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.construct import build_part, class_name, parse_spec, with_defaults
from lit_diffusion.interop.names import Names, map_state_dict
from lit_diffusion.nn import UNet

OBJECTIVES = {"LearnedRange": "Hybrid", "LearnedDiagonal": "VariationalBound"}  # that train a learned variance


class Source(ABC):
    """A model of another code base. name: as the user typed it. files: all files read. weights: by the source's names.

    recipe: a configuration next to the weights, if any. holds: "ema" or "raw" if the source says which its weights are.
    notes: for the user.
    """

    format: str
    recipe: Path | None = None
    holds: str | None = None

    def __init__(self, name: str, weights: Mapping[str, Tensor], files: Sequence[Path]):
        self.name, self.weights, self.files = name, weights, files
        self.notes: list[str] = []

    @abstractmethod
    def apply_to(self, model: dict[str, Any]) -> dict[str, Any]:
        """The arguments of DiffusionModule from a recipe, with the source's model in them.

        Raises ConfigError, by name, for what lit_diffusion cannot express.
        """

    @abstractmethod
    def map_state(self, reverse: ReverseModel, model: Mapping[str, Any]) -> dict[str, Tensor]:
        """The weights by the names of `reverse`, built from `model`. Raises ConfigError if they do not match."""

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each file, by file name."""
        return {file.name: sha256(file) for file in self.files}


class UNetSource(Source):
    """A source whose network is the DDPM U-Net under other names.

    channels: of the images. image_size: side length in pixels, None if unknown. guessed_size: a guess for networks like
    this one. outputs: output channels of the network. learned: the variance class if there are twice as many outputs as
    channels. recipe_needed: why the user must give a recipe; None if not needed.
    """

    names: Names
    channels: int
    outputs: int
    learned: str
    image_size: int | None = None
    guessed_size: int | None = None
    recipe_needed: str | None = None

    @abstractmethod
    def network(self) -> dict[str, Any]:
        """The options of our U-Net that the source determines; all others come from the recipe."""

    def reverse(self) -> dict[str, Any]:
        """Other arguments of GaussianReverse that the source determines."""
        return {"variance": self.learned} if self.outputs == 2 * self.channels else {}

    def apply_to(self, model: dict[str, Any]) -> dict[str, Any]:
        name, reverse = parse_spec(model["reverse"]) or ("", {})
        if name != "GaussianReverse":
            raise ConfigError(f"{self.name}: expected a recipe with GaussianReverse, got {name}; use another -c")
        kept = parse_spec(reverse.get("network")) or ("", {})
        network = merge_options(kept[1] if kept[0] == "UNet" else {}, self.network())
        reverse = {
            **reverse,
            **self.reverse(),
            "channels": self.channels,
            "network": {"class_path": "UNet", "init_args": network},
        }
        variance, objective = class_name(reverse.get("variance"), "BetaVariance"), class_name(model.get("objective"))
        wanted = OBJECTIVES.get(variance)
        learns = build_part(variance, Variance).learned
        if self.outputs != self.channels * (2 if learns else 1):
            raise ConfigError(
                f"{self.name}: expected {self.channels * (2 if learns else 1)} output channels for {variance} and "
                "images of "
                f"{self.channels} channels, got {self.outputs}; a learned variance needs twice as many, a fixed one "
                "as many"
            )
        if wanted and objective == "Simple":
            model = {**model, "objective": wanted}
        elif not wanted and objective == "Hybrid":
            model = {**model, "objective": "Simple"}
        return {**model, "reverse": {"class_path": "GaussianReverse", "init_args": reverse}}

    def map_state(self, reverse: ReverseModel, model: Mapping[str, Any]) -> dict[str, Tensor]:
        network = reverse.get_submodule("network")
        if not isinstance(network, UNet):
            raise ConfigError(f"{self.name}: expected a recipe with UNet, got {type(network).__name__}; use another -c")
        options = with_defaults(with_defaults(model["reverse"])["network"])
        found = map_state_dict(self.split_weights(options), network, self.names, self.name)
        schedule = reverse.process.schedule
        if any(True for _ in schedule.parameters()):
            raise ConfigError(f"{self.name} has no weights of {type(schedule).__name__}; add -c with a fixed schedule")
        return {f"network.{name}": weight for name, weight in found.items()}

    def split_weights(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """The weights, split and named one for one like ours. options: of the U-Net."""
        return self.weights

    def shape(self, name: str, dimensions: int) -> torch.Size:
        """The shape of a weight. Raises ConfigError if it is missing, empty or has another number of dimensions."""
        weight = self.weights.get(name)
        if weight is None:
            raise ConfigError(f"{self.name}: the weights are not those of a U-Net; missing: {name}")
        if weight.ndim != dimensions or not weight.numel():
            raise ConfigError(
                f"{self.name}: {name}: expected {dimensions} dimensions, none empty, got shape {tuple(weight.shape)}"
            )
        return weight.shape


def merge_options(recipe: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The U-Net's options: those found in the source, and the others of the recipe.

    A source does not say whether the last row of its label embedding stands for no label. It does if the recipe has one
    class less and drops labels.
    """
    rows, classes = found["num_classes"], recipe.get("num_classes")
    if rows is not None and classes == rows - 1 and recipe.get("label_dropout", 0.1) > 0:
        return {**recipe, **found, "num_classes": classes}
    return {**recipe, **found, "label_dropout": 0.0} if rows is not None else {**recipe, **found}


def sha256(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as opened:
        digest = hashlib.sha256()
        while block := opened.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def find_multipliers(widths: Sequence[int], width: int, source: str, what: str) -> list[int]:
    """Channels of the levels as multiples of the first convolution's. Raises ConfigError unless all are whole."""
    if not widths or any(one % width or one < width for one in widths):
        raise ConfigError(f"{source}: {what}: expected whole multiples of {width}, got {list(widths)}")
    return [one // width for one in widths]
