"""Our format, without code: a folder with `model.safetensors`, all weights by our names, and `config.yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import tensors
from lit_diffusion.interop.source import Source

WEIGHTS, RECIPE = "model.safetensors", "config.yaml"


class NativeModel(Source):
    """What `lit-diffusion export --format safetensors` writes, for any model of lit_diffusion."""

    format = "lit_diffusion"

    def __init__(self, name: str, folder: Path):
        self.recipe = folder / RECIPE
        if not self.recipe.is_file():
            raise ConfigError(f"{folder}: {RECIPE}, which describes the model, is missing; add it")
        weights, self.holds = tensors.read(folder / WEIGHTS)
        super().__init__(name, weights, [folder / WEIGHTS, self.recipe])

    def apply_to(self, model: dict[str, Any]) -> dict[str, Any]:
        """The recipe's model, unchanged."""
        return model

    def map_state(self, reverse: ReverseModel, model: Mapping[str, Any]) -> dict[str, Tensor]:
        return dict(self.weights)
