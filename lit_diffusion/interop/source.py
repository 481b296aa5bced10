"""What an import reads: weights by another code base's names, and what comes with them."""

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
from lit_diffusion.interop.construct import complete, name_of, part, spec_of
from lit_diffusion.interop.names import Names, adopted
from lit_diffusion.nn import UNet

OF_VARIANCE = {"LearnedRange": "Hybrid", "LearnedDiagonal": "VariationalBound"}  # objectives that train them


class Source(ABC):
    """A model of another code base. name: what the user calls it. files: all that is read. weights: by its own names.

    recipe: a configuration that lies beside the weights. notes: what the user should know.
    """

    format: str
    recipe: Path | None = None

    def __init__(self, name: str, weights: Mapping[str, Tensor], files: Sequence[Path]):
        self.name, self.weights, self.files = name, weights, files
        self.notes: list[str] = []

    @abstractmethod
    def onto(self, model: dict[str, Any]) -> dict[str, Any]:
        """The arguments of DiffusionModule in a recipe, with the model that the source is.

        Raises ConfigError, by name, for what ours cannot express.
        """

    @abstractmethod
    def state(self, reverse: ReverseModel, model: Mapping[str, Any]) -> dict[str, Tensor]:
        """Its weights by the names of our reverse model, made of `model`. Raises ConfigError where they do not fit."""

    def checksums(self) -> dict[str, str]:
        """SHA-256 of its files."""
        return {file.name: sha256(file) for file in self.files}


class UNetSource(Source):
    """A source whose network is the DDPM U-Net under other names.

    channels: of its images; image_size: of their sides, None where nothing says it; guessed_size: of those that such a
    network mostly has. outputs: channels of what the network returns; learned: the variance that the second half of
    twice as many outputs stands for. recipe_needed: why it takes a recipe of the user's, if it does.
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
        """The options of our U-Net that the source settles, all others are the recipe's."""

    def reverse(self) -> dict[str, Any]:
        """Other arguments of GaussianReverse that the source settles."""
        return {"variance": self.learned} if self.outputs == 2 * self.channels else {}

    def onto(self, model: dict[str, Any]) -> dict[str, Any]:
        name, reverse = spec_of(model["reverse"]) or ("", {})
        if name != "GaussianReverse":
            raise ConfigError(f"{self.name} is a Gaussian diffusion model, the recipe's is {name}; write another -c")
        kept = spec_of(reverse.get("network")) or ("", {})
        network = {**(kept[1] if kept[0] == "UNet" else {}), **self.network()}
        reverse = {
            **reverse,
            **self.reverse(),
            "channels": self.channels,
            "network": {"class_path": "UNet", "init_args": network},
        }
        variance, objective = name_of(reverse.get("variance"), "BetaVariance"), name_of(model.get("objective"))
        wanted = OF_VARIANCE.get(variance)
        learns = part(variance, Variance).learned
        if self.outputs != self.channels * (2 if learns else 1):
            raise ConfigError(
                f"{self.name} predicts {self.outputs} channels for images of {self.channels}, which does not go with "
                f"{variance}; a learned variance takes twice as many, a fixed one as many"
            )
        if wanted and objective == "Simple":
            model = {**model, "objective": wanted}
        elif not wanted and objective == "Hybrid":
            model = {**model, "objective": "Simple"}
        return {**model, "reverse": {"class_path": "GaussianReverse", "init_args": reverse}}

    def state(self, reverse: ReverseModel, model: Mapping[str, Any]) -> dict[str, Tensor]:
        network = reverse.get_submodule("network")
        if not isinstance(network, UNet):
            raise ConfigError(
                f"{self.name} is a U-Net, the recipe's network is {type(network).__name__}; write another -c"
            )
        options = complete(complete(model["reverse"])["network"])
        found = adopted(self.separated(options), network, self.names, self.name)
        schedule = reverse.process.schedule
        if any(True for _ in schedule.parameters()):
            raise ConfigError(
                f"{self.name} has no weights of {type(schedule).__name__}; write -c with a schedule that is not learned"
            )
        return {f"network.{name}": weight for name, weight in found.items()}

    def separated(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """The weights, one for each of ours. options: of the U-Net."""
        return self.weights

    def shape(self, name: str, dimensions: int) -> torch.Size:
        """The shape of one of its weights. Raises ConfigError where there is none of so many dimensions, none empty."""
        weight = self.weights.get(name)
        if weight is None:
            raise ConfigError(f"{self.name}: its weights are not those of a U-Net; missing: {name}")
        if weight.ndim != dimensions or not weight.numel():
            raise ConfigError(f"{self.name}: {name} has shape {tuple(weight.shape)}, which is none of a U-Net's")
        return weight.shape


def sha256(file: Path) -> str:
    """Of a file's content."""
    with file.open("rb") as opened:
        digest = hashlib.sha256()
        while block := opened.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def multipliers(widths: Sequence[int], width: int, source: str, what: str) -> list[int]:
    """Channels of the levels as whole multiples of the first convolution's. Raises ConfigError where they are none."""
    if not widths or any(one % width or one < width for one in widths):
        raise ConfigError(f"{source}: {what} {list(widths)} are no whole multiples of {width}, and ours are")
    return [one // width for one in widths]
