"""Detects a source's format: in a folder by its files, in a file by its names."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import ddpm_release, hub, improved_diffusion, native, tensors
from lit_diffusion.interop.ddpm_release import ReleasedWeights
from lit_diffusion.interop.diffusers import pipeline_folder
from lit_diffusion.interop.improved_diffusion import ImprovedDiffusionWeights
from lit_diffusion.interop.source import Source

FORMATS: dict[str, Callable[[str, Path, Mapping[str, Tensor]], Source]] = {  # by a name that only this format has
    ddpm_release.MARK: lambda name, file, weights: ReleasedWeights(name, weights, [file]),
    improved_diffusion.MARK: lambda name, file, weights: ImprovedDiffusionWeights(name, weights, [file]),
    pipeline_folder.MARK: pipeline_folder.open_file,
}
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def open_source(name: str, wanted: str | None = None) -> Source:
    """The model at `name`: a folder, a file, or a name of the hub. wanted: "ema" or "raw" where it holds both, by
    default its average. Raises ConfigError if it is missing or its format unknown.
    """
    path = Path(name)
    try:
        path.exists()
    except OSError as error:
        raise ConfigError(f"{name[:80]}...: not a valid path ({error.strerror}); use a shorter one") from error
    if path.is_dir():
        return (
            native.NativeModel(name, path)
            if (path / native.WEIGHTS).is_file()
            else pipeline_folder.open_folder(name, path, wanted)
        )
    if path.is_file():
        return open_weights(name, path, wanted)
    if not path.exists() and HUB_NAME.fullmatch(name) and path.suffix not in tensors.SUFFIXES and name[0] not in "./~":
        return pipeline_folder.open_folder(name, hub.download(name), wanted)
    raise ConfigError(
        f"{name}: no such file or folder; use one that exists, or a name of the hub, such as google/ddpm-cifar10-32"
    )


def open_weights(name: str, file: Path, wanted: str | None) -> Source:
    """The model in a file of weights."""
    if file.name == native.WEIGHTS and (file.parent / native.RECIPE).is_file():
        return native.NativeModel(name, file.parent)
    weights, kind = tensors.read(file, wanted)
    for mark, of_kind in FORMATS.items():
        if mark in weights:
            source = of_kind(name, file, weights)
            source.holds = kind or source.holds
            return source
    raise ConfigError(
        f"{name}: expected weights of diffusers' UNet2DModel, the DDPM release or improved-diffusion, got "
        f"{tensors.first_keys(weights)}, ...; use a file of one of these"
    )
