"""A folder of diffusers, or a single file of its weights beside its config.json."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.interop.diffusers import scheduler, unet
from lit_diffusion.interop.diffusers.settings import checked
from lit_diffusion.interop.source import UNetSource

CONFIG, SCHEDULER_CONFIG, INDEX = "config.json", "scheduler_config.json", "model_index.json"
WEIGHTS = "diffusion_pytorch_model"
FILES = f"{CONFIG}, {SCHEDULER_CONFIG} and {WEIGHTS}.safetensors"  # that make a model
PIPELINES = ("DDPMPipeline", "DDIMPipeline")
LARGEST = 2**20  # bytes of a config
MARK = "time_embedding.linear_1.weight"


class DiffusersModel(UNetSource):
    """UNet2DModel with DDPMScheduler or DDIMScheduler, and what their configs say. Without a scheduler, which is said
    in `notes`, schedule, prediction and variance are the recipe's.
    """

    format, names, learned = "diffusers", unet.NAMES, "LearnedRange"

    def __init__(self, name: str, weights: Path, config: Path, scheduler_config: Path | None):
        files = [config, *([scheduler_config] if scheduler_config else [])]
        super().__init__(name, weights, files)
        content = of_class(config, ("UNet2DModel",))
        self.config = checked(content, unet.UNET, unet.UNET_CHOICES, str(config))
        self.options = unet.network_of(self.config, str(config))
        if "dropout" not in content:  # evaluation knows none, and a recipe trains with its own
            del self.options["dropout"]
        blocks = self.options["num_blocks"] * len(self.options["multipliers"])
        if blocks > len(self.weights):
            raise ConfigError(f"{config}: layers_per_block: {blocks} blocks are more than {weights} has weights")
        self.channels, self.outputs = self.config["in_channels"], self.config["out_channels"]
        self.image_size = side(self.config["sample_size"], str(config))
        self.sampler: dict[str, Any] | None = None
        self._reverse: dict[str, Any] = {}
        if scheduler_config:
            content = of_class(scheduler_config, tuple(scheduler.SCHEDULERS))
            kind = content["_class_name"]
            settings = checked(content, scheduler.SCHEDULERS[kind], scheduler.SCHEDULER_CHOICES, str(scheduler_config))
            self._reverse = scheduler.reverse_of(settings, str(scheduler_config))
            name = "DDIMSampler" if kind == "DDIMScheduler" else "AncestralSampler"
            self.sampler = {"class_path": name, "init_args": {"steps": None}}
        recipe = config.parent / "config.yaml" if config.parent.name != "unet" else config.parent.parent / "config.yaml"
        self.recipe = recipe if recipe.is_file() else None

    def network(self) -> dict[str, Any]:
        return self.options

    def reverse(self) -> dict[str, Any]:
        return {**super().reverse(), **self._reverse}

    def onto(self, model: dict[str, Any]) -> dict[str, Any]:
        model = super().onto(model)
        return {**model, "sampler": self.sampler} if self.sampler else model

    def separated(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """With today's names of the attentions' parts."""
        former = re.compile(rf"(\.attentions\.\d+)\.({'|'.join(unet.FORMER)})\.")
        return {former.sub(lambda one: f"{one[1]}.{unet.FORMER[one[2]]}.", name): w for name, w in self.weights.items()}


def open_folder(name: str, folder: Path) -> DiffusersModel:
    """The model in a folder, flat or with folders `unet` and `scheduler`. Raises ConfigError where files are missing,
    or are those of another pipeline.
    """
    if (folder / INDEX).is_file():
        of_class(folder / INDEX, PIPELINES)
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    config = home / CONFIG
    if not config.is_file():
        raise ConfigError(f"{folder} has no {CONFIG}, which says what network it is; put it there, or write the file")
    of_class(config, ("UNet2DModel",))
    weights = next((file for end in ("safetensors", "bin") if (file := home / f"{WEIGHTS}.{end}").is_file()), None)
    if weights is None:
        there = ", ".join(sorted(one.name for one in home.iterdir())) or "nothing"
        raise ConfigError(f"{home} has no {WEIGHTS}.safetensors or .bin, but {there}; put one there, or write a file")
    return DiffusersModel(name, weights, config, beside(folder))


def open_file(name: str, file: Path) -> DiffusersModel:
    """The model in a file of weights, of any name, beside its config. Raises ConfigError where there is none."""
    config = file.parent / CONFIG
    if not config.is_file():
        raise ConfigError(f"{file} has no {CONFIG} beside it, which says what network it is; put it there")
    return DiffusersModel(name, file, config, beside(file.parent.parent if file.parent.name == "unet" else file.parent))


def beside(folder: Path) -> Path | None:
    """The scheduler's config in a folder."""
    return next((one for where in ("scheduler", ".") if (one := folder / where / SCHEDULER_CONFIG).is_file()), None)


def of_class(file: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The content of a config of one of these classes. Raises ConfigError, with the name, for another's."""
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST // 2**20} MiB")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is no JSON ({one_line(error)}); fetch it again") from error
    if not isinstance(content, dict) or content.get("_class_name") not in names:
        named = content.get("_class_name") if isinstance(content, dict) else None
        raise ConfigError(f"{file} is of {named or 'no class'}; only {' or '.join(names)} can be imported")
    return content


def side(size: Any, file: str) -> int | None:
    """Of square images, or None where none is given."""
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise ConfigError(f"{file}: sample_size: ours are square images, not {size!r}")
    return size
