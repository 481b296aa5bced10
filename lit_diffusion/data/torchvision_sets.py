"""MNIST, Fashion-MNIST and CIFAR10 from torchvision's files, with torchvision's readers and checksums."""

import os
import socket
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError, one_line


class TorchvisionData(ImageData):
    """A data set of `torchvision.datasets`, which is imported only when its files are needed.

    root: the folder that holds torchvision's folders; download: fetch, verify and unpack missing files. Archives that
    were placed there by hand are verified and unpacked without a network.
    """

    num_levels = 256

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        flip: bool = False,
        seed: int | None = None,
        root: str = "data",
        download: bool = True,
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed)
        self.root, self.download = os.path.expanduser(root), download

    def prepare_data(self) -> None:
        """Downloads and unpacks missing files; Lightning calls this in one process per machine."""
        if self.download:
            with _connection_timeout(seconds=30), _no_empty_folders(self._archives()[1]):
                self._open(train=False, download=True)

    def read(self) -> dict[str, MemoryStore]:
        splits = {"train": self._open(train=True), "test": self._open(train=False)}
        return {
            name: MemoryStore(self._pixels(split), torch.as_tensor(split.targets, dtype=torch.int64))
            for name, split in splits.items()
        }

    def _open(self, train: bool, download: bool = False) -> Any:
        source = self._source()
        try:
            return source(self.root, train=train, download=download)
        except (
            OSError,
            RuntimeError,
            ValueError,
            TypeError,
            AssertionError,
        ) as error:  # from its readers
            bad, (names, folder) = self._bad_files(), self._archives()
            missing = ", ".join(path.name for path in bad if not path.exists())
            damaged = ", ".join(path.name for path in bad if path.exists())
            faults = [f"{what}: {files}" for what, files in (("missing", missing), ("damaged", damaged)) if files]
            reason = f" ({one_line(error)})" if download or damaged else ""
            delete = "delete damaged files, " if damaged else ""
            raise ConfigError(
                f"root: no {source.__name__} in {self.root!r}: {', '.join(faults)}{reason}; {delete}set download: "
                f"true, and connect to the network or put {', '.join(names)} into {folder}, to be unpacked there"
            ) from error

    @abstractmethod
    def _source(self) -> Any:
        """The class in `torchvision.datasets`."""

    @abstractmethod
    def _pixels(self, split: Any) -> Tensor:
        """All images of an opened split: (N, C, H, W) uint8."""

    @abstractmethod
    def _bad_files(self) -> list[Path]:
        """Unpacked files that are missing or damaged."""

    @abstractmethod
    def _archives(self) -> tuple[list[str], Path]:
        """Names of the files to fetch by hand, and the folder where they belong."""


class MNIST(TorchvisionData):
    """70,000 handwritten digits, 28x28 grey, 60,000 train and 10,000 test (LeCun et al. 1998)."""

    image_shape = (1, 28, 28)

    def _source(self) -> Any:
        from torchvision.datasets import MNIST

        return MNIST

    def _pixels(self, split: Any) -> Tensor:
        return split.data[:, None]

    def _bad_files(self) -> list[Path]:
        from torchvision.datasets.mnist import read_image_file, read_label_file

        names, folder = self._archives()
        bad = []
        for path in (folder / name.removesuffix(".gz") for name in names):
            try:
                (read_image_file if "images" in path.name else read_label_file)(str(path))
            except (OSError, RuntimeError, ValueError, TypeError, AssertionError):
                bad.append(path)
        return bad

    def _archives(self) -> tuple[list[str], Path]:
        source = self._source()
        return [name for name, _ in source.resources], Path(self.root, source.__name__, "raw")


class FashionMNIST(MNIST):
    """70,000 pictures of clothes in MNIST's format, 60,000 train and 10,000 test (Xiao et al. 2017)."""

    def _source(self) -> Any:
        from torchvision.datasets import FashionMNIST

        return FashionMNIST


class CIFAR10(TorchvisionData):
    """60,000 photographs of 10 classes, 32x32 RGB, 50,000 train and 10,000 test (Krizhevsky 2009).

    Training images are flipped by default, as in Ho et al. 2020.
    """

    image_shape = (3, 32, 32)

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        flip: bool = True,
        seed: int | None = None,
        root: str = "data",
        download: bool = True,
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed, root, download)

    def _source(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10

    def _pixels(self, split: Any) -> Tensor:
        return torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous()

    def _bad_files(self) -> list[Path]:
        from torchvision.datasets.utils import check_integrity

        source = self._source()
        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        paths = [(Path(self.root, source.base_folder, name), md5) for name, md5 in files]
        return [path for path, md5 in paths if not check_integrity(path, md5)]

    def _archives(self) -> tuple[list[str], Path]:
        return [self._source().filename], Path(self.root)


@contextmanager
def _no_empty_folders(path: Path) -> Iterator[None]:
    """Removes the folders down to `path` that were made inside, if they are left empty by an error."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield
    except ConfigError:
        for folder in made:
            with suppress(OSError):  # not made, or not empty
                folder.rmdir()
        raise


@contextmanager
def _connection_timeout(seconds: float) -> Iterator[None]:
    """A time limit on connections; torchvision sets none and would wait for minutes behind a silent firewall."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
