"""Images that stay in their files, of whatever format: decoded by worker processes, one batch at a time."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_diffusion.data.image_decoding import Form, decode_record, named
from lit_diffusion.data.sources.image_source import ImageSource
from lit_diffusion.errors import ConfigError

Decoded = Tensor | ConfigError


class SourceStore:
    """One split: some records of a source; worker processes decode, the caller's process moves whole batches to the
    device.

    argument: the name of the setting that gives the source; form: of the decoded images, which must all have the same
    size if it leaves it; num_workers: processes per loader, 0 to decode in the caller's process; indices: of the
    records, in order, by default all.
    """

    def __init__(
        self, argument: str, source: ImageSource, form: Form, num_workers: int, indices: np.ndarray | None = None
    ):
        self.argument, self.source, self.form, self.num_workers = argument, source, form, num_workers
        self.indices = np.arange(len(source)) if indices is None else indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Decoded:
        """One image, or the error as a value, since an error raised in a worker arrives with the worker's traceback."""
        try:
            image = self._decode(index)
            if image.shape != self.shape:
                first, this = ("x".join(map(str, shape[1:])) for shape in (self.shape, image.shape))
                raise ConfigError(
                    f"expected images of one size, but {self._where(0)} is {first} and {self._where(index)} {this}; "
                    "resize them"
                )
            return image
        except ConfigError as error:
            return ConfigError(f"{self.argument}: {error}")

    @property
    def labels(self) -> Tensor | None:
        """Classes of the images: (N,) int64, or None."""
        return None if self.source.labels is None else self.source.labels[torch.from_numpy(self.indices)]

    @cached_property
    def shape(self) -> torch.Size:
        """(channels, height, width) of every image; that of the first image if they are not resized."""
        if self.form.size is not None:
            return torch.Size((self.form.channels, *self.form.size))
        return self._decode(0).shape

    def _where(self, index: int) -> str:
        return self.source.where(int(self.indices[index]))

    def _decode(self, index: int) -> Tensor:
        """One image; one that is not resized keeps its colours or is refused, and never becomes grey without a word."""
        where = self._where(index)
        with named(where):
            content = self.source.read(int(self.indices[index]))
        if self.form.size is not None or self.form.channels != 1 or isinstance(content, np.ndarray):
            return decode_record(content, where, self.form)
        image = decode_record(content, where, Form(None, 3))
        if (image != image[:1]).any():
            raise ConfigError(f"{where}: expected a grey image, got colours; convert it, or use other features")
        return image[:1].contiguous()

    def batches(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """See `ImageStore.batches`. A batch with a broken image raises ConfigError that names it."""
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
        """SHA-256 of what identifies the records, and of how they are decoded."""
        content = hashlib.sha256(self.form.description.encode())
        for mark in self.source.marks(self.indices):
            content.update(repr(mark).encode())
        return content.hexdigest()

    def decode_all(self, batch: int = 64) -> Tensor:
        """Every image, in order: (N, channels, height, width), uint8 or int32."""
        images = torch.empty(len(self), *self.shape, dtype=self.form.dtype)
        parts = [torch.arange(start, min(start + batch, len(self))) for start in range(0, len(self), batch)]
        for indices, levels in zip(parts, self.batches(parts, torch.device("cpu"))):
            images[indices] = levels
        return images


def _stack(images: list[Decoded]) -> Decoded:
    errors = [image for image in images if isinstance(image, ConfigError)]
    return errors[0] if errors else torch.stack(images)  # type: ignore[arg-type]
