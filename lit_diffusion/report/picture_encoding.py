"""A picture of a run as part of a page: decoded, checked, and written anew, so that nothing else of it survives."""

import base64
import io
import warnings
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from lit_diffusion.errors import ConfigError, one_line

MOST_PIXELS = 50_000_000  # decoded, 150 MB
LARGEST_SIDE = 1600  # pixels on the page
QUALITIES = (95, 85)  # of WebP with loss, used only where a picture without loss has too many bytes
SMALLEST_SIDE = 200


@dataclass(frozen=True)
class Encoded:
    """source: a data URI. note: how it differs from the file, or nothing."""

    source: str
    width: int
    height: int
    note: str = ""


@lru_cache(maxsize=1024)  # many runs have the same data, and a page that is renewed mostly the same pictures
def encode_picture(content: bytes, most: int) -> Encoded:
    """A PNG file as WebP: without loss if it has at most `most` bytes then, else with as little as is needed.

    Raises ConfigError if it cannot be read, or is larger than a picture of this package ever is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
            image: Image.Image = Image.open(io.BytesIO(content), formats=["PNG"])
        if image.width * image.height > MOST_PIXELS:
            raise ConfigError(f"{image.width} x {image.height} pixels are too many")
        image = image.convert("RGB" if image.mode != "RGBA" else "RGBA")
    except ConfigError:
        raise
    except Exception as error:  # decoders raise many kinds
        raise ConfigError(f"cannot be read as a picture ({one_line(error) or type(error).__name__})") from error
    factor = -(-max(image.size) // LARGEST_SIDE)
    while True:
        shown = image.reduce(factor) if factor > 1 else image
        notes = [f"1/{factor} of its size"] if factor > 1 else []
        for quality in (None, *QUALITIES):
            data = _save(shown, quality)
            if len(data) <= most or (quality == QUALITIES[-1] and max(shown.size) <= SMALLEST_SIDE):
                notes += [f"compressed with loss, quality {quality}"] if quality else []
                source = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
                return Encoded(source, *shown.size, ", ".join(notes))
        factor += 1


def _save(image: Image.Image, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, "WEBP", lossless=True, method=2)
    else:
        image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
