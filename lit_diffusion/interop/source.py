"""What an import reads: weights by another code base's names, and what comes with them."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import tensors
from lit_diffusion.interop.construct import CLASSES, complete, name_of, spec_of
from lit_diffusion.interop.names import Names, adopted
from lit_diffusion.nn import UNet

OF_VARIANCE = {"LearnedRange": "Hybrid", "LearnedDiagonal": "VariationalBound"}  # objectives that train them


class Source(ABC):
    """A model of another code base. name: what the user calls it. files: all that is read.

    channels: of its images; image_size: of their sides, None where nothing says it. recipe: a configuration that lies
    beside the weights.
    """

    format: str
    channels: int
    image_size: int | None = None
    recipe: Path | None = None

    def __init__(self, name: str, weights: Path, files: Sequence[Path] = ()):
        self.name, self.file, self.files = name, weights, [weights, *files]
        self.weights = tensors.read(weights)

    @abstractmethod
    def onto(self, model: dict[str, Any]) -> dict[str, Any]:
        """The arguments of DiffusionModule in a recipe, with the model that the source is.

        Raises ConfigError, by name, for what ours cannot express.
        """

    @abstractmethod
    def adopted(self, network: nn.Module, options: Mapping[str, Any]) -> dict[str, Tensor]:
        """Its weights by the names of our network, made with `options`. Raises ConfigError where they do not fit."""

    def checksums(self) -> dict[str, str]:
        """SHA-256 of its files."""
        return {file.name: sha256(file) for file in self.files}


class UNetSource(Source):
    """A source whose network is the DDPM U-Net under other names. outputs: of that network; learned: the variance that
    the second half of twice as many outputs as channels stands for.
    """

    names: Names
    outputs: int
    learned: str

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
        if self.outputs != self.channels * (2 if CLASSES[variance].learned else 1):
            raise ConfigError(
                f"{self.name} predicts {self.outputs} channels for images of {self.channels}, which does not go with "
                f"{variance}; a learned variance takes twice as many, a fixed one as many"
            )
        if wanted and objective == "Simple":
            model = {**model, "objective": wanted}
        elif not wanted and objective == "Hybrid":
            model = {**model, "objective": "Simple"}
        return {**model, "reverse": {"class_path": "GaussianReverse", "init_args": reverse}}

    def adopted(self, network: nn.Module, options: Mapping[str, Any]) -> dict[str, Tensor]:
        assert isinstance(network, UNet)
        return adopted(
            self.separated(complete({"class_path": "UNet", "init_args": options})), network, self.names, self.name
        )

    def separated(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """The weights, one for each of ours. options: of the U-Net."""
        return self.weights

    def weight(self, name: str) -> Tensor:
        """One of its weights. Raises ConfigError where it is missing."""
        if name not in self.weights:
            raise ConfigError(f"{self.name}: its weights are not those of a U-Net; missing: {name}")
        return self.weights[name]


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
