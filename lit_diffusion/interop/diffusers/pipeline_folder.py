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
NETWORKS = {"ema": "unet_ema", "raw": "unet"}  # folders of a checkpoint of diffusers' training scripts


class DiffusersModel(UNetSource):
    """UNet2DModel with a scheduler that we know, as their configs describe them. Without a scheduler, schedule,
    prediction and variance come from the recipe, and a note says so.
    """

    format, names, learned = "diffusers", unet_config.NAMES, "LearnedRange"

    def __init__(self, name: str, file: Path, weights: Mapping[str, Tensor], config: Path, scheduling: Path | None):
        super().__init__(name, weights, [file, config, *([scheduling] if scheduling else [])])
        content = read_config(config, ("UNet2DModel",))
        home = config.parent.resolve()  # of the folder: in the hub's cache, the file is a link to elsewhere
        self.holds = say_kind(home, content)
        network = {key: value for key, value in content.items() if key not in unet_config.AVERAGE}
        settings = check_settings(network, unet_config.UNET, unet_config.UNET_CHOICES, str(config))
        self.options = unet_config.convert_network(settings, str(config))
        if "dropout" not in content:  # evaluation needs none, and the recipe trains with its value
            del self.options["dropout"]
        blocks = self.options["num_blocks"] * len(self.options["multipliers"])
        if blocks > len(self.weights):
            raise ConfigError(f"{config}: layers_per_block: {blocks} blocks are more than the weights in {file}")
        self.channels, self.outputs = settings["in_channels"], settings["out_channels"]
        self.image_size = parse_size(settings["sample_size"], str(config))
        self.sampler: dict[str, Any] | None = None
        self._reverse: dict[str, Any] = {}
        if scheduling:
            content = read_config(scheduling, tuple(scheduler.SCHEDULERS))
            read = scheduler.read_settings(content, str(scheduling))
            self._reverse = scheduler.convert_reverse(read, str(scheduling))
            self.sampler = scheduler.convert_sampler(content["_class_name"], read)
        else:
            self.notes.append(f"no {SCHEDULER_CONFIG}: schedule, T, prediction and variance come from the recipe")
        recipe = whole_of(home) / "config.yaml"
        self.recipe = recipe if recipe.is_file() else None

    def network(self) -> dict[str, Any]:
        return self.options

    def reverse(self) -> dict[str, Any]:
        return {**super().reverse(), **self._reverse}

    def apply_to(self, model: dict[str, Any]) -> dict[str, Any]:
        """Adds the scheduler's sampler over all T steps, unless the recipe has this sampler with settings of it."""
        model = super().apply_to(model)
        named = class_name(model.get("sampler"), "AncestralSampler")
        if self.sampler is None or self.sampler["class_path"] == named:
            return model
        return {**model, "sampler": self.sampler}

    def split_weights(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Replaces former names of the attentions' layers by today's."""
        former = re.compile(rf"(\.attentions\.\d+)\.({'|'.join(unet_config.FORMER)})\.")
        return {
            former.sub(lambda one: f"{one[1]}.{unet_config.FORMER[one[2]]}.", name): w
            for name, w in self.weights.items()
        }


def open_folder(name: str, folder: Path, wanted: str | None = None) -> DiffusersModel:
    """The model in a folder, flat or with folders `unet` and `scheduler`; wanted: "raw" for `unet` if there is also an
    average, in `unet_ema`. Raises ConfigError if files are missing or of another pipeline.
    """
    if (folder / INDEX).is_file():
        read_config(folder / INDEX, PIPELINES)
    networks = {kind: folder / name for kind, name in NETWORKS.items() if (folder / name).is_dir()}
    home = networks.get(wanted or "ema", next(iter(networks.values()), folder))
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
    content, kind = tensors.read(weights)
    model = DiffusersModel(name, weights, content, config, find_scheduler(whole_of(home)))
    model.holds = model.holds or kind
    if len(networks) > 1:
        model.notes.append(f"it holds both: {' and '.join(f'--weights {k} is {v.name}' for k, v in networks.items())}")
    return model


def open_file(name: str, file: Path, weights: Mapping[str, Tensor]) -> DiffusersModel:
    """The model in a file of weights, of any name, next to its config. Raises ConfigError if that is missing."""
    config = file.parent / CONFIG
    if not config.is_file():
        raise ConfigError(f"{file}: {CONFIG}, which describes the network, is missing next to it; add it")
    return DiffusersModel(name, file, weights, config, find_scheduler(whole_of(file.parent)))


def whole_of(home: Path) -> Path:
    """The folder of the whole model, from the one of its network."""
    return home.resolve().parent if home.resolve().name in NETWORKS.values() else home


def find_scheduler(folder: Path) -> Path | None:
    """The scheduler's config in a folder, if any; that of the whole training next to one of its checkpoints."""
    folders = [folder, folder.resolve().parent] if re.fullmatch(r"checkpoint-\d+", folder.resolve().name) else [folder]
    places = (one / where / SCHEDULER_CONFIG for one in folders for where in ("scheduler", "."))
    return next((place for place in places if place.is_file()), None)


def say_kind(home: Path, config: Mapping[str, Any]) -> str | None:
    """Whether a network's folder holds "ema" or "raw" weights: by the record of the average in its config, or by its
    name if there is the other next to it.
    """
    if home.name == NETWORKS["ema"] or not unet_config.AVERAGE.isdisjoint(config):
        return "ema"
    return "raw" if home.name == NETWORKS["raw"] and (home.parent / NETWORKS["ema"]).is_dir() else None


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
