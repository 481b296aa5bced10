"""Images of 16 bits per channel, of which Pillow reads grey ones only."""

import numpy as np
import torch
from PIL import ImageFile

from lit_diffusion.data.png_length import is_whole

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as in Pillow
MOST = 65535
ORIENTATION = 0x0112  # Exif's tag


def deep_pixels(image: ImageFile.ImageFile, content: bytes) -> np.ndarray:
    """The levels of a file of 16 bits per channel: (H, W, C) uint16. image: the file, as Pillow opened it.

    Raises ValueError for anything else, for a truncated PNG file, and for colours in a format other than PNG.
    """
    if image.getexif().get(ORIENTATION, 1) != 1:
        raise ValueError("16 bits per channel and an orientation in its Exif data: save it upright")
    if image.format == "PNG":
        from torchvision.io import ImageReadMode, decode_png

        if not is_whole(content):
            raise ValueError("truncated: rows are missing")
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        pixels = decode_png(data, mode=ImageReadMode.UNCHANGED)
        if pixels.dtype != torch.uint16:
            raise ValueError("16 bits per channel, which this version of torchvision does not read: install 0.20")
        return pixels.permute(1, 2, 0).numpy()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return np.array(image).astype(np.uint16)[..., None]
    raise ValueError("colours of 16 bits per channel are read from PNG files only: convert it")


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
