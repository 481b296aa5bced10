"""Levels cropped to a shape and resized, by Lanczos with antialiasing; what that does to alpha."""

import numpy as np
from PIL import Image

FAINTEST = 0.5 / 255  # alpha that rounds to none in 8 bits, below which colours are black
TINY = 1e-6  # alpha that is divided by at least


def centred_part(rows: int, columns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The largest centred part of `rows` x `columns` pixels in the shape of `height` x `width`, as Pillow's box."""
    if columns * height <= rows * width:
        rows, top = max(1, columns * height // width), rows
        top = (top - rows) // 2
        return 0, top, columns, top + rows
    columns, left = max(1, rows * width // height), columns
    left = (left - columns) // 2
    return left, 0, left + columns, rows


def resized(levels: np.ndarray, size: tuple[int, int], most: int) -> np.ndarray:
    """Levels (H, W, C) from 0 to `most`, uint8 or uint16, of which the centred part is resized to `size`.

    Colours are weighted by their alpha (C = 2 or 4), so that what transparent pixels hide does not show at their edges;
    where alpha becomes 0, in 8 bits, so do the colours. Without alpha each channel is resized by itself. An image whose
    centred part has the size keeps its pixels, hidden ones too.
    """
    left, top, right, bottom = centred_part(levels.shape[0], levels.shape[1], *size)
    part = levels[top:bottom, left:right]
    if part.shape[:2] == size:
        return part
    if levels.dtype == np.uint8 and part.shape[2] in (1, 3):
        return _lanczos(part, size).clip(0, most)
    image = part.astype(np.float32)
    for shape in ((part.shape[0], size[1]), size):  # clipped after each axis, as Pillow clips 8 bits
        image = (_with_alpha(image, shape, most) if part.shape[2] in (2, 4) else _lanczos(image, shape)).clip(0, most)
    if part.shape[2] in (2, 4):
        image[image[..., -1] < FAINTEST * most, :-1] = 0
    return np.rint(image).astype(levels.dtype)


def _with_alpha(image: np.ndarray, size: tuple[int, int], most: int) -> np.ndarray:
    """(H, W, C) float32 resized, with colours weighted by alpha, the last channel."""
    alpha = image[..., -1:]
    weighted = _lanczos(np.concatenate([image[..., :-1] * alpha, alpha], axis=2), size)
    colours = weighted[..., :-1] / weighted[..., -1:].clip(TINY * most)
    return np.concatenate([colours, weighted[..., -1:]], axis=2)


def _lanczos(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) uint8 or float32 resized, each channel by itself."""
    parts = [image] if image.dtype == np.uint8 and image.shape[2] == 3 else np.moveaxis(image, -1, 0)
    channels = (Image.fromarray(np.ascontiguousarray(channel)) for channel in parts)
    return np.dstack([np.array(one.resize(size[::-1], Image.Resampling.LANCZOS)) for one in channels])
