"""A folder of diffusers, or a single file of its weights next to its config.json."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.interop import tensors
from lit_diffusion.interop.construct import class_name
from lit_diffusion.interop.diffusers import scheduler, unet_config
from lit_diffusion.interop.diffusers.fields import check_number, check_settings
from lit_diffusion.interop.source import UNetSource

CONFIG, SCHEDULER_CONFIG, INDEX = "config.json", "scheduler_config.json", "model_index.json"
WEIGHTS = "diffusion_pytorch_model"
FILES = f"{CONFIG}, {SCHEDULER_CONFIG} and {WEIGHTS}.safetensors"  # the files of a model
PIPELINES = ("DDPMPipeline", "DDIMPipeline")
LARGEST = 2**20  # bytes of a config
MARK = "time_embedding.linear_1.weight"


class DiffusersModel(UNetSource):
    """UNet2DModel with DDPMScheduler or DDIMScheduler, as their configs describe them. Without a scheduler, schedule,
    prediction and variance come from the recipe, and a note says so.
    """

    format, names, learned = "diffusers", unet_config.NAMES, "LearnedRange"

    def __init__(self, name: str, file: Path, weights: Mapping[str, Tensor], config: Path, scheduling: Path | None):
        super().__init__(name, weights, [file, config, *([scheduling] if scheduling else [])])
        content = read_config(config, ("UNet2DModel",))
        settings = check_settings(content, unet_config.UNET, unet_config.UNET_CHOICES, str(config))
        self.options = unet_config.convert_network(settings, str(config))
        if "dropout" not in content:  # evaluation needs none, and the recipe trains with its value
            del self.options["dropout"]
        blocks = self.options["num_blocks"] * len(self.options["multipliers"])
        if blocks > len(self.weights):
            raise ConfigError(f"{config}: layers_per_block: {blocks} blocks are more than the weights in {file}")
        self.channels, self.outputs = settings["in_channels"], settings["out_channels"]
        self.image_size = parse_size(settings["sample_size"], str(config))
        self.sampler: str | None = None
        self._reverse: dict[str, Any] = {}
        if scheduling:
            content = read_config(scheduling, tuple(scheduler.SCHEDULERS))
            self._reverse = scheduler.convert_reverse(
                scheduler.read_settings(content, str(scheduling)), str(scheduling)
            )
            self.sampler = "DDIMSampler" if content["_class_name"] == "DDIMScheduler" else "AncestralSampler"
        else:
            self.notes.append(f"no {SCHEDULER_CONFIG}: schedule, T, prediction and variance come from the recipe")
        home = config.resolve().parent
        recipe = (home.parent if home.name == "unet" else home) / "config.yaml"
        self.recipe = recipe if recipe.is_file() else None

    def network(self) -> dict[str, Any]:
        return self.options

    def reverse(self) -> dict[str, Any]:
        return {**super().reverse(), **self._reverse}

    def apply_to(self, model: dict[str, Any]) -> dict[str, Any]:
        """Adds the scheduler's sampler over all T steps, unless the recipe has this sampler with settings of it."""
        model = super().apply_to(model)
        if self.sampler in (None, class_name(model.get("sampler"), "AncestralSampler")):
            return model
        return {**model, "sampler": {"class_path": self.sampler, "init_args": {"steps": None}}}

    def split_weights(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Replaces former names of the attentions' layers by today's."""
        former = re.compile(rf"(\.attentions\.\d+)\.({'|'.join(unet_config.FORMER)})\.")
        return {
            former.sub(lambda one: f"{one[1]}.{unet_config.FORMER[one[2]]}.", name): w
            for name, w in self.weights.items()
        }


def open_folder(name: str, folder: Path) -> DiffusersModel:
    """The model in a folder, flat or with folders `unet` and `scheduler`. Raises ConfigError if files are missing or of
    another pipeline.
    """
    if (folder / INDEX).is_file():
        read_config(folder / INDEX, PIPELINES)
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    whole = folder.resolve().parent if folder.resolve().name == "unet" else folder
    config = home / CONFIG
    if not config.is_file():
        raise ConfigError(
            f"{folder}: {CONFIG}, which describes the network, is missing; add it, or import a file of weights"
        )
    read_config(config, ("UNet2DModel",))
    weights = next((file for end in ("safetensors", "bin") if (file := home / f"{WEIGHTS}.{end}").is_file()), None)
    if weights is None:
        others = sorted(one.name for one in home.iterdir() if one.suffix in tensors.SUFFIXES)
        raise ConfigError(
            f"{home}: {WEIGHTS}.safetensors or .bin is missing; "
            + (f"import one of its files, such as {home / others[0]}" if others else "add one")
            + ("; weights in several parts are not supported" if len(others) > 1 else "")
        )
    return DiffusersModel(name, weights, tensors.read(weights), config, find_scheduler(whole))


def open_file(name: str, file: Path, weights: Mapping[str, Tensor]) -> DiffusersModel:
    """The model in a file of weights, of any name, next to its config. Raises ConfigError if that is missing."""
    config = file.parent / CONFIG
    if not config.is_file():
        raise ConfigError(f"{file}: {CONFIG}, which describes the network, is missing next to it; add it")
    folder = file.resolve().parent
    return DiffusersModel(
        name, file, weights, config, find_scheduler(folder.parent if folder.name == "unet" else file.parent)
    )


def find_scheduler(folder: Path) -> Path | None:
    """The scheduler's config in a folder, if any."""
    return next((one for where in ("scheduler", ".") if (one := folder / where / SCHEDULER_CONFIG).is_file()), None)


def read_config(file: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The content of a config of one of these classes. Raises ConfigError for another class or a damaged file."""
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST // 2**20} MiB")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid JSON ({one_line(error)}); download it again") from error
    if not isinstance(content, dict) or content.get("_class_name") not in names:
        named = content.get("_class_name") if isinstance(content, dict) else None
        raise ConfigError(f"{file}: expected {' or '.join(names)}, got {one_line(named or 'no class')[:80]}")
    return content


def parse_size(size: Any, file: str) -> int | None:
    """The side length of square images in pixels, None if not given. Raises ConfigError for other shapes."""
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if isinstance(size, list | tuple):
        raise ConfigError(f"{file}: sample_size: expected square images, got {one_line(size)[:80]}")
    return size if size is None else check_number(size, f"{file}: sample_size", 1, whole=True)
