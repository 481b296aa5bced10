"""CIFAR10 from torchvision's files, with torchvision's reader and checksums."""

import os
from pathlib import Path
from typing import Any

import torch

from lit_diffusion.data.download import downloading_into
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError, one_line


class CIFAR10(ImageData):
    """60,000 photographs of 10 classes, 32x32 RGB, 50,000 train and 10,000 test (Krizhevsky 2009).

    Training images are flipped by default, as in Ho et al. 2020. root: the folder that holds torchvision's folder;
    download: fetch, verify and unpack missing files. An archive that was placed there by hand is verified and unpacked
    without a network.
    """

    image_shape = (3, 32, 32)
    num_levels = 256

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        flip: bool = True,
        seed: int | None = None,
        root: str = "data",
        download: bool = True,
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed)
        self.root, self.download = os.path.expanduser(root), download

    def prepare_data(self) -> None:
        """Downloads and unpacks missing files; Lightning calls this in one process per machine."""
        if self.download:
            with downloading_into(Path(self.root)):
                self._open(train=False, download=True)

    def read(self) -> dict[str, MemoryStore]:
        splits = {"train": self._open(train=True), "test": self._open(train=False)}
        return {
            name: MemoryStore(
                torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous(),
                torch.as_tensor(split.targets, dtype=torch.int64),
            )
            for name, split in splits.items()
        }

    def _open(self, train: bool, download: bool = False) -> Any:
        from torchvision.datasets import CIFAR10 as source  # imported only when its files are needed

        try:
            return source(self.root, train=train, download=download)
        except (
            OSError,
            RuntimeError,
            ValueError,
            TypeError,
            AssertionError,
        ) as error:  # from its readers
            bad = self._bad_files(source)
            missing = ", ".join(path.name for path in bad if not path.exists())
            damaged = ", ".join(path.name for path in bad if path.exists())
            faults = [f"{what}: {files}" for what, files in (("missing", missing), ("damaged", damaged)) if files]
            reason = f" ({one_line(error)})" if download or damaged else ""
            delete = "delete damaged files, " if damaged else ""
            raise ConfigError(
                f"root: no CIFAR10 in {self.root!r}: {', '.join(faults)}{reason}; {delete}set download: true, and "
                f"connect to the network or put {source.filename} into {self.root}, to be unpacked there"
            ) from error

    def _bad_files(self, source: Any) -> list[Path]:
        """Unpacked files that are missing or damaged."""
        from torchvision.datasets.utils import check_integrity

        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        paths = [(Path(self.root, source.base_folder, name), md5) for name, md5 in files]
        return [path for path, md5 in paths if not check_integrity(path, md5)]
