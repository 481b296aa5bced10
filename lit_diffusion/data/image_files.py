"""Images that stay in their files: decoded by worker processes, a batch at a time."""

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

from lit_diffusion.data.png_length import is_whole
from lit_diffusion.errors import ConfigError, one_line

Decoded = Tensor | ConfigError
# Pillow knows more formats, of which one starts another program: what a file is called says nothing of what it holds.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def decode(path: str, size: int | None, channels: int) -> Tensor:
    """The centre square of an image file, resized: (channels, size, size) uint8; channels 3 (RGB) or 1 (grey).

    Crop, then Lanczos with antialiasing, as in StyleGAN2's dataset_tool, which made the LSUN files of Ho et al. 2020
    (code). The camera's orientation is applied, transparency is dropped. size None: the pixels as they lie in the file,
    (channels, height, width), as torch-fidelity reads them. Raises ConfigError that begins with the path
    where the file is broken, holds more than 8 bits a channel, or is larger than Pillow deems safe.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not os.path.isfile(path):  # to open a pipe is to wait for ever
                raise ValueError("no regular file")
            image = Image.open(path, formats=FORMATS)
        with image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                raise ValueError("more than 8 bits a channel")
            last_row = image.crop((0, image.height - 1, image.width, image.height))
            if image.format == "PNG" and not np.asarray(last_row).any() and not is_whole(path):
                raise ValueError("truncated: rows are missing")
            mode = "RGB" if channels == 3 else "L"
            levels = np.array(image.convert(mode) if size is None else _square(image, size, mode))
    except Exception as error:  # each of Pillow's decoders raises what it likes
        reason = one_line(error) or type(error).__name__
        raise ConfigError(f"{path} is not an image that can be used ({reason}); repair or remove it") from error
    return torch.from_numpy(levels).reshape(*levels.shape[:2], channels).permute(2, 0, 1).contiguous()


def _square(image: Image.Image, size: int, mode: str) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).convert(mode)
    return square.resize((size, size), Image.Resampling.LANCZOS)


class FileStore:
    """One split as a list of files; worker processes decode, the caller's process moves whole batches to the device.

    paths: relative to root; argument: what the user calls root; size: pixels of a side, or None for images as they
    are, which must then be of one size; num_workers: processes a loader, 0 to decode in the caller's.
    """

    def __init__(self, argument: str, root: str, paths: list[str], size: int | None, channels: int, num_workers: int):
        self.argument, self.root, self.size, self.channels = argument, root, size, channels
        self.num_workers = num_workers
        # One array, not a list of str: counting references would make every worker copy the pages of millions of them.
        self._paths = np.array([os.fsencode(path) for path in paths])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Decoded:
        """One image, or the error as a value: raised in a worker it would reach the user as a worker's traceback."""
        try:
            image = decode(self._path(index), self.size, self.channels)
            if image.shape != self.shape:
                first, this = ("x".join(map(str, shape[1:])) for shape in (self.shape, image.shape))
                raise ConfigError(
                    f"{self._path(index)} is {this} and {self._path(0)} {first}: images of different sizes do not "
                    "compare; bring them to one size"
                )
            return image
        except ConfigError as error:
            return ConfigError(f"{self.argument}: {error}")

    @cached_property
    def shape(self) -> torch.Size:
        """(channels, height, width) of every image: that of the first where none is resized."""
        if self.size is not None:
            return torch.Size((self.channels, self.size, self.size))
        return decode(self._path(0), None, self.channels).shape

    def _path(self, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(self._paths[index]))

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """As `ImageStore.batches`; ConfigError that names the file at the batch that holds a broken one."""
        loader: DataLoader = DataLoader(
            self,  # type: ignore[arg-type]  # a map-style data set in all but its base class
            batch_sampler=map(Tensor.tolist, indices),  # type: ignore[arg-type]
            num_workers=self.num_workers,
            collate_fn=_stack,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # its own: a loader otherwise draws from the global random state
        )
        for batch in loader:
            if isinstance(batch, ConfigError):
                raise batch
            yield batch.to(device, non_blocking=True)

    def fingerprint(self) -> str:
        """SHA-256 of names, sizes and times of the files, and of what is made of them.

        ctime changes with any change of a file, and unlike mtime no archive and no tool sets it.
        """
        content = hashlib.sha256(repr((self.size, self.channels)).encode())
        for index, path in enumerate(self._paths):
            status = os.stat(self._path(index))
            content.update(repr((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)).encode())
        return content.hexdigest()

    def decode_all(self, batch: int = 64) -> Tensor:
        """Every image, in order: (N, channels, size, size) uint8."""
        images = torch.empty(len(self), self.channels, self.size, self.size, dtype=torch.uint8)
        parts = [torch.arange(start, min(start + batch, len(self))) for start in range(0, len(self), batch)]
        for indices, levels in zip(parts, self.batches(parts, torch.device("cpu"))):
            images[indices] = levels
        return images


def _stack(images: list[Decoded]) -> Decoded:
    errors = [image for image in images if isinstance(image, ConfigError)]
    return errors[0] if errors else torch.stack(images)  # type: ignore[arg-type]
