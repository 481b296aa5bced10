"""A run as a folder of diffusers, which DDPMPipeline.from_pretrained loads."""

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
from lit_diffusion.interop.construct import with_defaults
from lit_diffusion.interop.diffusers import scheduler, unet_config
from lit_diffusion.interop.diffusers.fields import VERSION
from lit_diffusion.interop.diffusers.pipeline_folder import CONFIG, INDEX, SCHEDULER_CONFIG, WEIGHTS
from lit_diffusion.nn import UNet


class Export:
    """The three configs of the folder. Raises ConfigError, by name, for what they cannot express.

    arguments: of the reverse model in the run's configuration. size: side length of the images in pixels, if known.
    """

    def __init__(self, reverse: ReverseModel, arguments: Mapping[str, Any], sampler: Sampler, size: int | None):
        if not isinstance(reverse, GaussianReverse):
            raise refusal("model.reverse", type(reverse).__name__)
        network = reverse.network
        if not isinstance(network, UNet):
            raise refusal("model.reverse.network", type(network).__name__)
        if size is None:
            raise ConfigError(
                "--size: the run's data do not determine the size of the images; add it, such as --size 32"
            )
        self.network, self.num_steps = network, reverse.num_steps
        self.labels = (reverse.num_classes, reverse.knows_no_label)
        self.unet = unet_config.make_unet_config(network, with_defaults(arguments["network"]), size)
        self.scheduler = scheduler.make_scheduler_config(reverse, sampler)
        self.timesteps = None  # that reproduce our chain where a number of steps does not
        if self.scheduler["_class_name"] == "DPMSolverMultistepScheduler":
            self.timesteps = [t - 1 for t in reversed(sampler.subset(reverse.process.schedule))]
        self.index = {
            "_class_name": "DDIMPipeline" if self.scheduler["_class_name"] == "DDIMScheduler" else "DDPMPipeline",
            "_diffusers_version": VERSION,
            "scheduler": ["diffusers", self.scheduler["_class_name"]],
            "unet": ["diffusers", "UNet2DModel"],
        }

    def write(self, folder: Path, weights: Mapping[str, Tensor], kind: str) -> None:
        """Writes the files. weights: of the reverse model. kind: "ema" or "raw"."""
        theirs = {their: weights[f"network.{our}"] for our, their in unet_config.NAMES.map_names(self.network).items()}
        for name in ("unet", "scheduler"):
            (folder / name).mkdir()
        tensors.write(folder / "unet" / f"{WEIGHTS}.safetensors", theirs, kind)
        for file, content in (
            (folder / INDEX, self.index),
            (folder / "unet" / CONFIG, self.unet),
            (folder / "scheduler" / SCHEDULER_CONFIG, self.scheduler),
        ):
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def refusal(key: str, name: str) -> ConfigError:
    """The error for a class without a counterpart in diffusers."""
    return ConfigError(f"{key}: diffusers' UNet2DModel cannot express {name}; use --format safetensors", key=key)
