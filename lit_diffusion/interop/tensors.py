"""Files of weights: tensors only, never code, every value a finite number, in float32."""

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
from lit_diffusion.runs.atomic_files import check_archive

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SUFFIXES = (".safetensors", *PICKLES)


def read(file: Path) -> dict[str, Tensor]:
    """The weights in a file by its own names, float32 on the CPU; they stay in the file until they are used, where its
    format allows.

    Raises ConfigError for a file that is damaged, holds code or other things than weights, or values that are no
    numbers.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{file} is no file of weights that is known; write one of {', '.join(SUFFIXES)}")
    content = of_safetensors(file) if file.suffix.lower() == ".safetensors" else of_pickle(file)
    weights = {name: as_float32(weight, name, file) for name, weight in content.items()}
    if not weights:
        raise ConfigError(f"{file} holds no weights; write another file")
    return weights


def of_safetensors(file: Path) -> dict[str, Tensor]:
    """Tensors that are read when they are used."""
    try:
        with safe_open(file, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(file, error) from error


def of_pickle(file: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of torch.save, without `module.` before all names as of DataParallel."""
    try:
        is_archive = zipfile.is_zipfile(file)
        if is_archive:
            check_archive(file)
        elif not starts_with(file, b"\x80"):
            raise ValueError("no file of torch.save")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower().replace(" ", "_"):
            raise damaged(file, error) from error
        raise ConfigError(
            f"{file} holds code or objects beside tensors, and running it is refused; write a file of weights alone, "
            "best as .safetensors"
        ) from error
    except Exception as error:  # every kind of damage raises a different type
        raise damaged(file, error) from error
    return state_dict_in(content, file)


def state_dict_in(content: Any, file: Path) -> Mapping[str, Tensor]:
    """A mapping from names to tensors, or that under `state_dict`. Raises ConfigError for anything else."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    named = isinstance(content, Mapping) and all(isinstance(name, str) for name in content)
    if not named or not all(isinstance(one, Tensor) for one in content.values()):
        what = f"a mapping with {listed_keys(content)}" if isinstance(content, Mapping) else type(content).__name__
        raise ConfigError(f"{file} holds {what}, no weights by name; write a file of a state dict")
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): weight for name, weight in content.items()}
    return content


def listed_keys(content: Iterable[Any]) -> str:
    """The first keys of a mapping."""
    return one_line(", ".join(str(key)[:60] for key in list(content)[:5]))


def as_float32(weight: Tensor, name: str, file: Path) -> Tensor:
    """A weight, widened where it is stored in half precision."""
    name = one_line(name)
    is_plain = weight.layout == torch.strided and not weight.is_meta and weight.dtype in FLOATS
    # an expanded tensor expands to more than the file holds
    if not is_plain or weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
        raise ConfigError(f"{file}: {name} holds {weight.dtype} values, no plain weights; write a file of weights")
    weight = weight.float()
    if not torch.isfinite(weight).all():
        raise ConfigError(f"{file}: {name} holds values that are no numbers; write the weights of a model that works")
    return weight


def damaged(file: Path, error: Exception) -> ConfigError:
    """What a user can do about a file that cannot be read."""
    if starts_with(file, b"version https://git-lfs"):
        return ConfigError(f"{file} is a pointer of git-lfs; fetch what it points to, by git lfs pull")
    return ConfigError(f"{file} is damaged or no file of weights ({first_words(error)}); fetch it again")


def starts_with(file: Path, beginning: bytes) -> bool:
    """Whether a file does."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(beginning)) == beginning
    except OSError:
        return False


def write(file: Path, weights: Mapping[str, Tensor]) -> None:
    """A file of safetensors. Tensors may share memory or be views. Raises OSError where the disk does not do."""
    whole = {name: weight.detach().clone().contiguous() for name, weight in weights.items()}
    try:
        save_file(whole, file, {"format": "pt"})
    except SafetensorError as error:
        raise OSError(errno.EIO, first_words(error)) from error
