"""From the content of an image file, or an array of levels, to levels of one shape."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor

from lit_diffusion.data.deep_levels import deep_pixels, with_channels
from lit_diffusion.data.png_length import is_whole
from lit_diffusion.data.sources.image_source import read_file
from lit_diffusion.errors import ConfigError, one_line

# Pillow reads other formats, one of which starts another program; the name of a file does not determine its format.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
DEEP = re.compile(r";(12|16|32|64)[A-Z]")  # in Pillow's name of how pixels are stored, such as RGB;16B
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
    Without a size the pixels are those of the file, as torch-fidelity reads them.

    Raises ConfigError that begins with `where` if the content is broken, has another number of bits per channel than
    the form, or is a file of several images or of more pixels than Pillow considers safe.
    """
    if isinstance(content, np.ndarray):
        levels = _checked(content, where, form)
        if form.size is not None and levels.shape[:2] != form.size:
            levels = _resized(levels, form)
    else:
        with named(where):
            levels = _pixels(content, form)
            if levels.dtype != np.uint8 and form.size is not None and levels.shape[:2] != form.size:
                levels = _resized(levels, form)
    levels = levels.astype(np.uint8 if form.dtype == torch.uint8 else np.int32, copy=False)
    image = torch.from_numpy(levels).reshape(*levels.shape[:2], form.channels)
    return image.permute(2, 0, 1).contiguous()


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


def _pixels(content: bytes, form: Form) -> np.ndarray:
    """The pixels of an image file with the channels of the form; of 8 bits, also with its size."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(BytesIO(content), formats=FORMATS)
    with image:
        deep = has_more_than_8_bits(image)
        if deep and form.num_levels <= 256:
            raise ValueError("more than 8 bits per channel: convert it to 8")
        if not deep and form.num_levels > 256:
            raise ValueError("8 bits per channel: set num_levels: 256, or convert it to 16")
        if image.format in ("PNG", "TIFF", "WEBP") and (frames := getattr(image, "n_frames", 1)) > 1:
            raise ValueError(f"{frames} images in one file: save each in a file of its own")
        if deep:
            return with_channels(deep_pixels(image, content), form.channels)
        last_row = image.crop((0, image.height - 1, image.width, image.height))
        if image.format == "PNG" and not np.asarray(last_row).any() and not is_whole(content):
            raise ValueError("truncated: rows are missing")
        mode = MODES[form.channels]
        if form.size is None:
            return np.array(image.convert(mode))
        ImageOps.exif_transpose(image, in_place=True)
        part = image.crop(centred_part(image.height, image.width, *form.size)).convert(mode)
        return np.array(part.resize(form.size[::-1], Image.Resampling.LANCZOS))


def has_more_than_8_bits(image: ImageFile.ImageFile) -> bool:
    """Whether a file just opened has more than 8 bits per channel, which Pillow drops from colours without a word."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return True
    stored = [one.args if isinstance(one.args, tuple) else (one.args,) for one in image.tile]
    if image.format == "PPM":
        return any(isinstance(value, int) and value > 255 for arguments in stored for value in arguments[1:])
    return any(DEEP.search(str(arguments[0])) for arguments in stored)


def centred_part(rows: int, columns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The largest centred part of `rows` x `columns` pixels in the shape of `height` x `width`, as Pillow's box."""
    if columns * height <= rows * width:
        rows, top = max(1, columns * height // width), rows
        top = (top - rows) // 2
        return 0, top, columns, top + rows
    columns, left = max(1, rows * width // height), columns
    left = (left - columns) // 2
    return left, 0, left + columns, rows


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
        raise ConfigError(f"{where}: expected levels 0 to {form.num_levels - 1}, got {most}; set num_levels")
    return levels


def _resized(levels: np.ndarray, form: Form) -> np.ndarray:
    """Levels (H, W, C), cropped and resized to the form's size, each channel by itself; 8 bits as images are."""
    assert form.size is not None
    part, size = centred_part(levels.shape[0], levels.shape[1], *form.size), form.size[::-1]
    stored = np.uint8 if levels.dtype == np.uint8 else np.float32  # Pillow resizes 16 bits as floats only
    parts = [levels] if stored == np.uint8 and levels.shape[2] == 3 else np.moveaxis(levels, -1, 0)
    channels = (Image.fromarray(np.ascontiguousarray(channel, dtype=stored)) for channel in parts)
    resized = np.dstack([np.array(one.crop(part).resize(size, Image.Resampling.LANCZOS)) for one in channels])
    return np.rint(resized).clip(0, form.num_levels - 1).astype(levels.dtype)
