"""Our own models without code: a folder with `model.safetensors`, all weights by our names, and `config.yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.names import check_fit
from lit_diffusion.interop.source import Source

WEIGHTS, RECIPE = "model.safetensors", "config.yaml"
FORMAT = "lit_diffusion"


class OwnModel(Source):
    """What `lit-diffusion export --format safetensors` writes: any model of ours."""

    format = FORMAT

    def __init__(self, name: str, folder: Path):
        self.recipe = folder / RECIPE
        if not self.recipe.is_file():
            raise ConfigError(f"{folder} has no {RECIPE}, which says what model it is; put it there")
        super().__init__(name, folder / WEIGHTS, [self.recipe])

    def onto(self, model: dict[str, Any]) -> dict[str, Any]:
        """The recipe's own model."""
        return model

    def adopted(self, reverse: nn.Module, options: Mapping[str, Any]) -> dict[str, Tensor]:
        check_fit(self.weights, reverse.state_dict(), self.name)
        return self.weights
