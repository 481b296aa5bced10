"""A folder of diffusers, or a single file of its weights beside its config.json."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.interop import tensors
from lit_diffusion.interop.construct import name_of
from lit_diffusion.interop.diffusers import scheduler, unet_config
from lit_diffusion.interop.diffusers.fields import checked, number
from lit_diffusion.interop.source import UNetSource

CONFIG, SCHEDULER_CONFIG, INDEX = "config.json", "scheduler_config.json", "model_index.json"
WEIGHTS = "diffusion_pytorch_model"
FILES = f"{CONFIG}, {SCHEDULER_CONFIG} and {WEIGHTS}.safetensors"  # that make a model
PIPELINES = ("DDPMPipeline", "DDIMPipeline")
LARGEST = 2**20  # bytes of a config
MARK = "time_embedding.linear_1.weight"


class DiffusersModel(UNetSource):
    """UNet2DModel with DDPMScheduler or DDIMScheduler, and what their configs say. Without a scheduler, which is noted,
    schedule, prediction and variance are the recipe's.
    """

    format, names, learned = "diffusers", unet_config.NAMES, "LearnedRange"

    def __init__(self, name: str, file: Path, weights: Mapping[str, Tensor], config: Path, scheduling: Path | None):
        super().__init__(name, weights, [file, config, *([scheduling] if scheduling else [])])
        content = of_class(config, ("UNet2DModel",))
        settings = checked(content, unet_config.UNET, unet_config.UNET_CHOICES, str(config))
        self.options = unet_config.network_of(settings, str(config))
        if "dropout" not in content:  # evaluation knows none, and a recipe trains with its own
            del self.options["dropout"]
        blocks = self.options["num_blocks"] * len(self.options["multipliers"])
        if blocks > len(self.weights):
            raise ConfigError(f"{config}: layers_per_block: {blocks} blocks are more than {file} has weights")
        self.channels, self.outputs = settings["in_channels"], settings["out_channels"]
        self.image_size = side(settings["sample_size"], str(config))
        self.sampler: str | None = None
        self._reverse: dict[str, Any] = {}
        if scheduling:
            content = of_class(scheduling, tuple(scheduler.SCHEDULERS))
            self._reverse = scheduler.reverse_of(scheduler.settings_of(content, str(scheduling)), str(scheduling))
            self.sampler = "DDIMSampler" if content["_class_name"] == "DDIMScheduler" else "AncestralSampler"
        else:
            self.notes.append(f"no {SCHEDULER_CONFIG}: schedule, T, prediction and variance are the recipe's")
        home = config.resolve().parent
        recipe = (home.parent if home.name == "unet" else home) / "config.yaml"
        self.recipe = recipe if recipe.is_file() else None

    def network(self) -> dict[str, Any]:
        return self.options

    def reverse(self) -> dict[str, Any]:
        return {**super().reverse(), **self._reverse}

    def onto(self, model: dict[str, Any]) -> dict[str, Any]:
        """With the scheduler's sampler, over all steps: schedulers say no number of them. A recipe's may say more."""
        model = super().onto(model)
        if self.sampler in (None, name_of(model.get("sampler"), "AncestralSampler")):
            return model
        return {**model, "sampler": {"class_path": self.sampler, "init_args": {"steps": None}}}

    def separated(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """With today's names of the attentions' parts."""
        former = re.compile(rf"(\.attentions\.\d+)\.({'|'.join(unet_config.FORMER)})\.")
        return {
            former.sub(lambda one: f"{one[1]}.{unet_config.FORMER[one[2]]}.", name): w
            for name, w in self.weights.items()
        }


def open_folder(name: str, folder: Path) -> DiffusersModel:
    """The model in a folder, flat or with folders `unet` and `scheduler`. Raises ConfigError where files are missing,
    or are those of another pipeline.
    """
    if (folder / INDEX).is_file():
        of_class(folder / INDEX, PIPELINES)
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    whole = folder.resolve().parent if folder.resolve().name == "unet" else folder
    config = home / CONFIG
    if not config.is_file():
        raise ConfigError(f"{folder} has no {CONFIG}, which says what network it is; put it there, or write the file")
    of_class(config, ("UNet2DModel",))
    weights = next((file for end in ("safetensors", "bin") if (file := home / f"{WEIGHTS}.{end}").is_file()), None)
    if weights is None:
        others = sorted(one.name for one in home.iterdir() if one.suffix in tensors.SUFFIXES)
        raise ConfigError(
            f"{home} has no {WEIGHTS}.safetensors or .bin; "
            + (f"write one of its files, as {home / others[0]}" if others else "put one there")
            + ("; one of several parts is none" if len(others) > 1 else "")
        )
    return DiffusersModel(name, weights, tensors.read(weights), config, beside(whole))


def open_file(name: str, file: Path, weights: Mapping[str, Tensor]) -> DiffusersModel:
    """The model in a file of weights, of any name, beside its config. Raises ConfigError where there is none."""
    config = file.parent / CONFIG
    if not config.is_file():
        raise ConfigError(f"{file} has no {CONFIG} beside it, which says what network it is; put it there")
    folder = file.resolve().parent
    return DiffusersModel(name, file, weights, config, beside(folder.parent if folder.name == "unet" else file.parent))


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
        raise ConfigError(
            f"{file} is of {one_line(named or 'no class')[:80]}; only {' or '.join(names)} can be imported"
        )
    return content


def side(size: Any, file: str) -> int | None:
    """Of square images, or None where none is given."""
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if isinstance(size, list | tuple):
        raise ConfigError(f"{file}: sample_size: ours are square images, not {one_line(size)[:80]}")
    return size if size is None else number(size, f"{file}: sample_size", 1, whole=True)
