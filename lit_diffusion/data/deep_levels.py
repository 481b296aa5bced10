"""Images of 16 bits per channel, of which Pillow reads grey ones only."""

import re

import numpy as np
import torch
from PIL import ImageFile

from lit_diffusion.data.png_length import is_whole
from lit_diffusion.errors import ConfigError

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as in Pillow
MOST = 65535
DEEP = re.compile(r";(12|16|32|64)[A-Z]")  # in Pillow's name of how pixels are stored, such as RGB;16B
ORIENTATION = 0x0112  # Exif's tag
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF's tags
WHITE_IS_ZERO = 0  # of PHOTOMETRIC
UNSIGNED, SIGNED = 1, 2  # of SAMPLE_FORMAT


def has_more_than_8_bits(image: ImageFile.ImageFile) -> bool:
    """Whether a file just opened has more than 8 bits per channel, which Pillow drops from colours without a word."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return True
    stored = [one.args if isinstance(one.args, tuple) else (one.args,) for one in image.tile]
    if image.format == "PPM":
        return any(isinstance(value, int) and value > 255 for arguments in stored for value in arguments[1:])
    return any(DEEP.search(str(arguments[0])) for arguments in stored)


def check_levels(image: ImageFile.ImageFile, where: str) -> None:
    """Raises ConfigError, with `where`, unless the levels of a file just opened are of at most 16 unsigned bits, and
    are not deep colours that `deep_pixels` does not read.
    """
    bits, sign = _tag(image, BITS, 8), _tag(image, SAMPLE_FORMAT, UNSIGNED)
    kind = "floating-point numbers" if image.mode == "F" else f"signed ones of {bits}" if sign == SIGNED else str(bits)
    if bits > 16 or kind != str(bits):
        raise ConfigError(f"{where}: expected levels of 8 or 16 unsigned bits, got {kind}; convert it")
    if image.format != "PNG" and not image.mode.startswith("I") and has_more_than_8_bits(image):
        raise ConfigError(
            f"{where}: expected a PNG file for colours of more than 8 bits per channel, got {image.format}; convert it "
            "to PNG or to 8 bits"
        )


def deep_pixels(image: ImageFile.ImageFile, content: bytes) -> np.ndarray:
    """The levels of a file of 16 bits per channel: (H, W, C) uint16. image: the file, as Pillow opened it, checked.

    Raises ValueError for a truncated PNG file, and for one that is not upright.
    """
    if image.getexif().get(ORIENTATION, 1) != 1:
        raise ValueError("16 bits per channel and an orientation in its Exif data: save it upright")
    if image.format == "PNG":
        return _with_transparency(_png_pixels(content), image.info.get("transparency"))
    levels = np.array(image).astype(np.uint16)[..., None]
    most = 2 ** _tag(image, BITS, 16) - 1
    if most < MOST:
        levels = np.rint(levels.astype(np.float64) * MOST / most).astype(np.uint16)
    return MOST - levels if _tag(image, PHOTOMETRIC, 1) == WHITE_IS_ZERO else levels


def with_channels(levels: np.ndarray, channels: int) -> np.ndarray:
    """Levels (H, W, C) uint16 with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels, converted between these."""
    has_alpha, wants_alpha = levels.shape[2] in (2, 4), channels in (2, 4)
    colours = levels[..., :-1] if has_alpha else levels
    if channels <= 2 and colours.shape[2] == 3:
        colours = np.rint(colours @ LUMA)[..., None].astype(np.uint16)
    elif channels > 2 and colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    if not wants_alpha:
        return np.ascontiguousarray(colours)
    opaque = np.full_like(levels[..., :1], MOST)
    return np.concatenate([colours, levels[..., -1:] if has_alpha else opaque], axis=2)


def _png_pixels(content: bytes) -> np.ndarray:
    from torchvision.io import ImageReadMode, decode_png

    if not is_whole(content):
        raise ValueError("truncated: rows are missing")
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    pixels = decode_png(data, mode=ImageReadMode.UNCHANGED)
    if pixels.dtype != torch.uint16:
        raise ValueError("16 bits per channel, which this version of torchvision does not read: install 0.20")
    return pixels.permute(1, 2, 0).numpy()


def _with_transparency(levels: np.ndarray, colour: int | tuple[int, int, int] | None) -> np.ndarray:
    """Levels (H, W, C) with the alpha that PNG's chunk tRNS means: 0 for pixels of one colour."""
    if colour is None or levels.shape[2] in (2, 4):
        return levels
    shows = (levels != np.array(colour, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([levels, np.where(shows, MOST, 0).astype(np.uint16)], axis=2)


def _tag(image: ImageFile.ImageFile, tag: int, default: int) -> int:
    """The first value of a tag of a TIFF file; the default for other files."""
    value = getattr(image, "tag_v2", {}).get(tag, default) if image.format == "TIFF" else default
    return int(value[0] if isinstance(value, tuple) else value)
