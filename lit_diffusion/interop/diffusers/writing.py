"""A run of ours as a folder of diffusers, which DDPMPipeline.from_pretrained loads."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_diffusion.diffusion.gaussian import GaussianReverse
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import tensors
from lit_diffusion.interop.construct import complete
from lit_diffusion.interop.diffusers import scheduler, unet_config
from lit_diffusion.interop.diffusers.fields import VERSION
from lit_diffusion.interop.diffusers.pipeline_folder import CONFIG, INDEX, SCHEDULER_CONFIG, WEIGHTS
from lit_diffusion.nn import UNet


class Export:
    """The three configurations of the folder; raises ConfigError, by name, for what they cannot express.

    arguments: of the reverse model in the run's configuration. size: of the images' sides, if it is known.
    """

    def __init__(self, reverse: ReverseModel, arguments: Mapping[str, Any], sampler: Sampler, size: int | None):
        if not isinstance(reverse, GaussianReverse):
            raise refusal("model.reverse", type(reverse).__name__)
        network = reverse.network
        if not isinstance(network, UNet):
            raise refusal("model.reverse.network", type(network).__name__)
        if size is None:
            raise ConfigError("--size: the run's data do not say the size of their images; write it, as --size 32")
        self.network, self.num_steps = network, reverse.num_steps
        self.unet = unet_config.unet_config(network, complete(arguments["network"]), size)
        self.scheduler = scheduler.scheduler_config(reverse, sampler)
        self.index = {
            "_class_name": "DDIMPipeline" if self.scheduler["_class_name"] == "DDIMScheduler" else "DDPMPipeline",
            "_diffusers_version": VERSION,
            "scheduler": ["diffusers", self.scheduler["_class_name"]],
            "unet": ["diffusers", "UNet2DModel"],
        }

    def write(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Writes the files. weights: of the reverse model, by our names."""
        theirs = {their: weights[f"network.{our}"] for our, their in unet_config.NAMES.of(self.network).items()}
        for name in ("unet", "scheduler"):
            (folder / name).mkdir()
        tensors.write(folder / "unet" / f"{WEIGHTS}.safetensors", theirs)
        for file, content in (
            (folder / INDEX, self.index),
            (folder / "unet" / CONFIG, self.unet),
            (folder / "scheduler" / SCHEDULER_CONFIG, self.scheduler),
        ):
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def refusal(key: str, name: str) -> ConfigError:
    """What has no counterpart at all."""
    return ConfigError(f"{key}: diffusers' UNet2DModel cannot express {name}; write --format safetensors", key=key)
