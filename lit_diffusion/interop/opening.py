"""Which format a source has: found by what lies there, and in a file by its names."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import ddpm_release, hub, improved_diffusion, own, tensors
from lit_diffusion.interop.ddpm_release import ReleasedWeights
from lit_diffusion.interop.diffusers import pipeline_folder
from lit_diffusion.interop.improved_diffusion import ImprovedDiffusionWeights
from lit_diffusion.interop.source import Source

OF_MARK: dict[str, Callable[[str, Path, Mapping[str, Tensor]], Source]] = {  # a name in the file
    ddpm_release.MARK: lambda name, file, weights: ReleasedWeights(name, weights, [file]),
    improved_diffusion.MARK: lambda name, file, weights: ImprovedDiffusionWeights(name, weights, [file]),
    pipeline_folder.MARK: pipeline_folder.open_file,
}
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def opened(name: str) -> Source:
    """The model that `name` names: a folder, a file, or a name on the hub. Raises ConfigError where there is none that
    is known.
    """
    path = Path(name)
    try:
        path.exists()
    except OSError as error:
        raise ConfigError(f"{name[:80]}..: no path ({error.strerror}); write a shorter one") from error
    if path.is_dir():
        return own.OwnModel(name, path) if (path / own.WEIGHTS).is_file() else pipeline_folder.open_folder(name, path)
    if path.is_file():
        return of_file(name, path)
    if not path.exists() and HUB_NAME.fullmatch(name) and path.suffix not in tensors.SUFFIXES and name[0] not in "./~":
        return pipeline_folder.open_folder(name, hub.download(name))
    raise ConfigError(
        f"{name}: no such file or folder; write one that exists, or a name of the hub as google/ddpm-cifar10-32"
    )


def of_file(name: str, file: Path) -> Source:
    """The model in a file of weights."""
    if file.name == own.WEIGHTS and (file.parent / own.RECIPE).is_file():
        return own.OwnModel(name, file.parent)
    weights = tensors.read(file)
    for mark, of_kind in OF_MARK.items():
        if mark in weights:
            return of_kind(name, file, weights)
    raise ConfigError(
        f"{name} holds {tensors.listed_keys(weights)}, ..: no names of diffusers' UNet2DModel, of the DDPM release or "
        "of improved-diffusion; write a file of one of these"
    )
