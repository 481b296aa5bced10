"""Images that stay in their files: decoded by worker processes, one batch at a time."""

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

from lit_diffusion.data.png_length import is_whole
from lit_diffusion.errors import ConfigError, one_line

Decoded = Tensor | ConfigError
# Pillow reads other formats, one of which starts another program; the name of a file does not determine its format.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
DEEP = re.compile(r";(12|16|32|64)[A-Z]")  # in Pillow's name of how pixels are stored, such as RGB;16B


def decode(path: str, size: int | None, channels: int) -> Tensor:
    """The centre square of an image file, resized: (channels, size, size) uint8; channels 3 (RGB) or 1 (grey).

    Crop, then Lanczos with antialiasing, as in StyleGAN2's dataset_tool, which made the LSUN files of Ho et al. 2020
    (code). The camera's orientation is applied, transparency is dropped. size None: the pixels of the file unchanged,
    (channels, height, width), as torch-fidelity reads them. Raises ConfigError that begins with the path if the file is
    broken, has more than 8 bits per channel or more than one image, or is larger than Pillow considers safe.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not os.path.isfile(path):  # opening a pipe would block
                raise ValueError("not a regular file")
            image = Image.open(path, formats=FORMATS)
        with image:
            if has_more_than_8_bits(image):
                raise ValueError("more than 8 bits per channel: convert it to 8")
            if image.format in ("PNG", "TIFF", "WEBP") and (frames := getattr(image, "n_frames", 1)) > 1:
                raise ValueError(f"{frames} images in one file: save each in a file of its own")
            last_row = image.crop((0, image.height - 1, image.width, image.height))
            if image.format == "PNG" and not np.asarray(last_row).any() and not is_whole(path):
                raise ValueError("truncated: rows are missing")
            mode = "RGB" if channels == 3 else "L"
            levels = np.array(image.convert(mode) if size is None else _square(image, size, mode))
    except Exception as error:  # Pillow's decoders raise many kinds
        reason = one_line(error).replace(f" {path!r}", "") or type(error).__name__
        raise ConfigError(f"{path}: cannot be read as an image ({reason}); repair or remove it") from error
    return torch.from_numpy(levels).reshape(*levels.shape[:2], channels).permute(2, 0, 1).contiguous()


def has_more_than_8_bits(image: ImageFile.ImageFile) -> bool:
    """Whether a file just opened has more than 8 bits per channel, which Pillow drops from colours without a word."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return True
    stored = [one.args if isinstance(one.args, tuple) else (one.args,) for one in image.tile]
    if image.format == "PPM":
        return any(isinstance(value, int) and value > 255 for arguments in stored for value in arguments[1:])
    return any(DEEP.search(str(arguments[0])) for arguments in stored)


def _square(image: Image.Image, size: int, mode: str) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).convert(mode)
    return square.resize((size, size), Image.Resampling.LANCZOS)


class FileStore:
    """One split as a list of files; worker processes decode, the caller's process moves whole batches to the device.

    argument: the name of the setting that gives root; paths: relative to root; size: side in pixels, or None for
    unchanged images, which must then all have the same size; num_workers: processes per loader, 0 to decode in the
    caller's process.
    """

    def __init__(self, argument: str, root: str, paths: list[str], size: int | None, channels: int, num_workers: int):
        self.argument, self.root, self.size, self.channels = argument, root, size, channels
        self.num_workers = num_workers
        # an array rather than a list of str, whose reference counts would make every worker copy the memory pages
        self._paths = np.array([os.fsencode(path) for path in paths])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Decoded:
        """One image, or the error as a value, since an error raised in a worker arrives with the worker's traceback."""
        try:
            image = self._decode(index)
            if image.shape != self.shape:
                first, this = ("x".join(map(str, shape[1:])) for shape in (self.shape, image.shape))
                raise ConfigError(
                    f"expected images of one size, but {self._path(0)} is {first} and {self._path(index)} {this}; "
                    "resize them"
                )
            return image
        except ConfigError as error:
            return ConfigError(f"{self.argument}: {error}")

    @cached_property
    def shape(self) -> torch.Size:
        """(channels, height, width) of every image; that of the first image if they are not resized."""
        if self.size is not None:
            return torch.Size((self.channels, self.size, self.size))
        return self._decode(0).shape

    def _decode(self, index: int) -> Tensor:
        """One image; one that is not resized keeps its colours or is refused, and never becomes grey without a word."""
        if self.size is not None or self.channels != 1:
            return decode(self._path(index), self.size, self.channels)
        image = decode(self._path(index), None, 3)
        if (image != image[:1]).any():
            raise ConfigError(
                f"{self._path(index)}: expected a grey image, got colours; convert it, or use other features"
            )
        return image[:1].contiguous()

    def _path(self, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(self._paths[index]))

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """See `ImageStore.batches`. A batch with a broken file raises ConfigError that names the file."""
        loader: DataLoader = DataLoader(
            self,  # type: ignore[arg-type]  # a map-style data set in all but its base class
            batch_sampler=map(Tensor.tolist, indices),
            num_workers=self.num_workers,
            collate_fn=_stack,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # otherwise the loader draws from the global random state
        )
        for batch in loader:
            if isinstance(batch, ConfigError):
                raise batch
            yield batch.to(device, non_blocking=True)

    def fingerprint(self) -> str:
        """SHA-256 of the names, sizes and times of the files, and of how they are decoded.

        ctime changes with any change of a file and, unlike mtime, cannot be set by archives or tools.
        """
        content = hashlib.sha256(repr((self.size, self.channels)).encode())
        for index, path in enumerate(self._paths):
            status = os.stat(self._path(index))
            content.update(repr((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)).encode())
        return content.hexdigest()

    def decode_all(self, batch: int = 64) -> Tensor:
        """Every image, in order: (N, channels, size, size) uint8."""
        images = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        parts = [torch.arange(start, min(start + batch, len(self))) for start in range(0, len(self), batch)]
        for indices, levels in zip(parts, self.batches(parts, torch.device("cpu"))):
            images[indices] = levels
        return images


def _stack(images: list[Decoded]) -> Decoded:
    errors = [image for image in images if isinstance(image, ConfigError)]
    return errors[0] if errors else torch.stack(images)  # type: ignore[arg-type]
