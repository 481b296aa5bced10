"""Our own models without code: a folder with `model.safetensors`, all weights by our names, and `config.yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import tensors
from lit_diffusion.interop.source import Source

WEIGHTS, RECIPE = "model.safetensors", "config.yaml"


class OwnModel(Source):
    """What `lit-diffusion export --format safetensors` writes: any model of ours."""

    format = "lit_diffusion"

    def __init__(self, name: str, folder: Path):
        self.recipe = folder / RECIPE
        if not self.recipe.is_file():
            raise ConfigError(f"{folder} has no {RECIPE}, which says what model it is; put it there")
        super().__init__(name, tensors.read(folder / WEIGHTS), [folder / WEIGHTS, self.recipe])

    def onto(self, model: dict[str, Any]) -> dict[str, Any]:
        """The recipe's own model."""
        return model

    def state(self, reverse: ReverseModel, model: Mapping[str, Any]) -> dict[str, Tensor]:
        return dict(self.weights)
