"""Files of weights: only tensors, never code, with finite values, as float32."""

import errno
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lit_diffusion.errors import ConfigError, first_words, one_line
from lit_diffusion.interop.weight_sets import choose
from lit_diffusion.runs.atomic_files import check_archive

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SUFFIXES = (".safetensors", *PICKLES)
KIND = "lit_diffusion.weights"  # what our files of safetensors say in their header: ema or raw


def read(file: Path, wanted: str | None = None) -> tuple[dict[str, Tensor], str | None]:
    """The weights in a file by the file's names, float32 on the CPU, memory-mapped if the format allows; and whether
    they are "ema" or "raw", if the file says so. wanted: which, if it holds both.

    Raises ConfigError if the file is damaged, holds code or anything but weights, or has non-finite values.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{file}: expected a file of weights; use one of {', '.join(SUFFIXES)}")
    content, kind = load_safetensors(file) if file.suffix.lower() == ".safetensors" else load_pickle(file, wanted)
    weights = {name: to_float32(weight, name, file) for name, weight in content.items()}
    if not weights:
        raise ConfigError(f"{file} holds no weights; use another file")
    return weights, kind


def load_safetensors(file: Path) -> tuple[dict[str, Tensor], str | None]:
    """The tensors in a file of safetensors, and their kind if it says so."""
    try:
        with safe_open(file, "pt") as opened:
            kind = (opened.metadata() or {}).get(KIND)
            content = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return content, kind if kind in ("ema", "raw") else None
    except (SafetensorError, OSError, ValueError) as error:
        raise damage_error(file, error) from error


def load_pickle(file: Path, wanted: str | None) -> tuple[Mapping[str, Tensor], str | None]:
    """The state dict in a file of torch.save, without the prefix `module.` of DataParallel, and its kind if known."""
    try:
        is_archive = zipfile.is_zipfile(file)
        if is_archive:
            check_archive(file)
        elif not starts_with(file, b"\x80"):
            raise ValueError("not a file of torch.save")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower().replace(" ", "_"):
            raise damage_error(file, error) from error
        raise ConfigError(
            f"{file} holds code or objects besides tensors and is not loaded; use a file with only weights, preferably "
            ".safetensors"
        ) from error
    except Exception as error:  # every kind of damage raises a different type
        raise damage_error(file, error) from error
    content, kind = choose(content, wanted, file)
    return strip_prefix(content, file), kind


def strip_prefix(content: Any, file: Path) -> Mapping[str, Tensor]:
    """A mapping from names to tensors, without `module.`. Raises ConfigError for other content."""
    named = isinstance(content, Mapping) and all(isinstance(name, str) for name in content)
    if not named or not all(isinstance(one, Tensor) for one in content.values()):
        what = f"a mapping with {first_keys(content)}" if isinstance(content, Mapping) else type(content).__name__
        raise ConfigError(f"{file} holds {what}; expected a state dict, tensors by name")
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): weight for name, weight in content.items()}
    return content


def first_keys(content: Iterable[Any]) -> str:
    """The first keys of a mapping, as text."""
    return one_line(", ".join(str(key)[:60] for key in list(content)[:5]))


def to_float32(weight: Tensor, name: str, file: Path) -> Tensor:
    """A weight as float32. Raises ConfigError unless it is a plain tensor of finite floats."""
    name = one_line(name)
    is_plain = weight.layout == torch.strided and not weight.is_meta and weight.dtype in FLOATS
    # an expanded tensor expands to more than the file holds
    if not is_plain or weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
        raise ConfigError(
            f"{file}: {name}: expected plain floating-point weights, got {weight.dtype}; use a file of weights"
        )
    weight = weight.float()
    if not torch.isfinite(weight).all():
        raise ConfigError(f"{file}: {name} has values that are not finite; use the weights of a working model")
    return weight


def damage_error(file: Path, error: Exception) -> ConfigError:
    """The error for a file that cannot be read."""
    if starts_with(file, b"version https://git-lfs"):
        return ConfigError(f"{file} is a pointer of git-lfs; fetch the file with git lfs pull")
    return ConfigError(f"{file} is damaged or not a file of weights ({first_words(error)}); download it again")


def starts_with(file: Path, beginning: bytes) -> bool:
    """Whether a file starts with these bytes; False if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(beginning)) == beginning
    except OSError:
        return False


def write(file: Path, weights: Mapping[str, Tensor], kind: str) -> None:
    """Writes a file of safetensors, which says whether the weights are "ema" or "raw". Tensors may share memory or be
    views. Raises OSError if it cannot be written.
    """
    whole = {name: weight.detach().clone().contiguous() for name, weight in weights.items()}
    try:
        save_file(whole, file, {"format": "pt", KIND: kind})
    except SafetensorError as error:
        raise OSError(errno.EIO, first_words(error)) from error
