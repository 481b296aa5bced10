"""From the content of an image file, or an array of levels, to levels of one shape."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lit_diffusion.data.deep_levels import check_levels, deep_pixels, has_more_than_8_bits, with_channels
from lit_diffusion.data.image_resizing import centred_part, resized
from lit_diffusion.data.png_length import is_whole
from lit_diffusion.data.sources.image_source import read_file
from lit_diffusion.errors import ConfigError, one_line

# Pillow reads other formats, one of which starts another program; the name of a file does not determine its format.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # Pillow's, by channels


@dataclass(frozen=True)
class Form:
    """What images are decoded to. size: (height, width), or None to leave it; channels: 1 (grey), 2 (grey, alpha),
    3 (RGB) or 4 (RGBA); num_levels: of the data, up to 256 for 8 bits and up to 65536 for 16.
    """

    size: tuple[int, int] | None
    channels: int
    num_levels: int = 256

    @property
    def dtype(self) -> torch.dtype:
        """Of stored levels. torch computes little with 16 unsigned bits."""
        return torch.uint8 if self.num_levels <= 256 else torch.int32

    @property
    def description(self) -> str:
        """What decoded images depend on, for their fingerprint."""
        size = self.size[0] if self.size and self.size[0] == self.size[1] else self.size
        return repr((size, self.channels) if self.num_levels == 256 else (size, self.channels, self.num_levels))


def decode(path: str, size: int | None, channels: int) -> Tensor:
    """The centre square of an image file, resized: (channels, size, size) uint8. See `decode_record`."""
    with named(path):
        content = read_file(path)
    return decode_record(content, path, Form(None if size is None else (size, size), channels))


def decode_record(content: bytes | np.ndarray, where: str, form: Form) -> Tensor:
    """An image in the form asked for: (channels, height, width), uint8, or int32 for more than 256 levels.

    content: of an image file, or levels (H, W) or (H, W, C). The largest centred part of the shape of `form.size` is
    cropped, then resized by Lanczos with antialiasing, as in StyleGAN2's dataset_tool, which made the LSUN files of
    Ho et al. 2020 (code). The camera's orientation is applied; transparency is dropped unless the form has it.
    Without a size the pixels are those of the file, as torch-fidelity reads them. `resized` says what becomes of alpha.

    Raises ConfigError that begins with `where` if the content is broken, has another number of bits per channel than
    the form, or is a file of several images or of more pixels than Pillow considers safe.
    """
    if isinstance(content, np.ndarray):
        levels = _checked(content, where, form)
    else:
        with named(where):
            levels = _pixels(content, where, form)
    levels = levels.reshape(*levels.shape[:2], form.channels)
    if form.size is not None:
        levels = resized(levels, form.size, form.num_levels - 1)
    levels = levels.astype(np.uint8 if form.dtype == torch.uint8 else np.int32, copy=False)
    return torch.from_numpy(levels).permute(2, 0, 1).contiguous()


@contextmanager
def named(where: str) -> Iterator[None]:
    """Errors inside, of which readers and decoders raise many kinds, become ConfigErrors that begin with `where`."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        reason = re.sub(r" <_io\.BytesIO[^>]*>", "", one_line(error).replace(f" {where!r}", ""))
        reason = reason or type(error).__name__
        raise ConfigError(f"{where}: cannot be read as an image ({reason}); repair or remove it") from error


def _pixels(content: bytes, where: str, form: Form) -> np.ndarray:
    """The pixels of an image file with the channels of the form; without alpha, those of 8 bits have its size, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(BytesIO(content), formats=FORMATS)
    with image:
        deep = has_more_than_8_bits(image)
        check_levels(image, where)
        if deep and form.num_levels <= 256:
            advice = "" if form.size is None else "set num_levels: 65536, or "
            raise ConfigError(f"{where}: expected 8 bits per channel, got more; {advice}convert it")
        if not deep and form.num_levels > 256:
            raise ConfigError(f"{where}: expected 16 bits per channel, got 8; set num_levels: 256, or convert it")
        if image.format in ("PNG", "TIFF", "WEBP") and (frames := getattr(image, "n_frames", 1)) > 1:
            raise ValueError(f"{frames} images in one file: save each in a file of its own")
        if deep:
            return with_channels(deep_pixels(image, content), form.channels)
        last_row = image.crop((0, image.height - 1, image.width, image.height))
        if image.format == "PNG" and not np.asarray(last_row).any() and not is_whole(content):
            raise ValueError("truncated: rows are missing")
        mode = MODES[form.channels]
        if form.size is not None:
            ImageOps.exif_transpose(image, in_place=True)
        if form.channels == 2 and image.mode == "RGB":  # Pillow gives a transparent colour another luma
            return np.array(image.convert("RGBA").convert(mode))
        if form.size is None or form.channels in (2, 4):
            return np.array(image.convert(mode))
        part = image.crop(centred_part(image.height, image.width, *form.size)).convert(mode)
        return np.array(part.resize(form.size[::-1], Image.Resampling.LANCZOS))


def _checked(levels: np.ndarray, where: str, form: Form) -> np.ndarray:
    """An array as (H, W, C). Raises ConfigError unless it has the form's channels and levels."""
    levels = levels[..., None] if levels.ndim == 2 else levels
    if levels.shape[2] != form.channels:
        raise ConfigError(
            f"{where}: expected {form.channels} channels, got {levels.shape[2]}; set channels: {levels.shape[2]}"
        )
    if levels.dtype == np.uint8 and form.num_levels > 256:
        raise ConfigError(f"{where}: expected 16 bits for {form.num_levels} levels, got 8; set num_levels: 256")
    if levels.size and (most := int(levels.max())) >= form.num_levels:
        deep = ": 65536" if levels.dtype == np.uint16 and form.num_levels <= 256 else ""
        raise ConfigError(f"{where}: expected levels 0 to {form.num_levels - 1}, got {most}; set num_levels{deep}")
    return levels
