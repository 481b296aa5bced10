"""MNIST and Fashion-MNIST, from files of any packing whose content is right."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lit_diffusion.data.download import downloading_into
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.mnist_files import NAMES, find_files, read_files
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError, one_line


class MNIST(ImageData):
    """70,000 handwritten digits, 28x28 grey, 60,000 train and 10,000 test (LeCun et al. 1998).

    Read from the four files in `root`/MNIST/raw, where torchvision keeps them, or in `root` itself, packed (.gz) or
    not; the SHA-256 of their unpacked content is checked. download: fetch missing ones into the former folder. For
    other files of this format use MNISTFiles.
    """

    image_shape = (1, 28, 28)
    num_levels = 256
    class_names = tuple("0123456789")
    installed: Path | None = None  # where a package of the system puts the files
    package = ""
    sums = dict(
        zip(
            NAMES,
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        )
    )

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
        """Downloads missing files; Lightning calls this in one process per machine."""
        if self.download and self._complete() is None:
            folder = self._places()[0]
            with downloading_into(folder):
                self._fetch(folder)

    def read(self) -> dict[str, MemoryStore]:
        folder = self._complete()
        if folder is None:
            raise self._missing()
        install = f"apt-get install --reinstall {self.package}"
        delete = "delete it to have it downloaded again" if folder == self._places()[0] else "replace it"
        repair = install if folder == self.installed else delete
        return read_files(find_files(folder), self.sums, repair)

    def _places(self) -> list[Path]:
        """The folders where the files may be, in the order in which they are searched."""
        root = Path(self.root)
        return [root / type(self).__name__ / "raw", root, *([self.installed] if self.installed else [])]

    def _complete(self) -> Path | None:
        """The first of these folders that has all four files."""
        return next((place for place in self._places() if len(find_files(place)) == len(NAMES)), None)

    def _fetch(self, folder: Path) -> None:
        from torchvision.datasets.utils import download_url

        source = self._source()
        there = find_files(folder)
        for name, md5 in source.resources:
            if name.removesuffix(".gz") in there:
                continue
            part = folder / f"{name}.part"
            for mirror in source.mirrors:
                try:
                    download_url(f"{mirror}{name}", str(folder), part.name, md5)
                    part.rename(folder / name)
                    break
                except (OSError, RuntimeError, ValueError) as error:
                    reason = one_line(error)
                    with suppress(OSError):
                        part.unlink()
            else:
                raise self._missing(reason)

    def _missing(self, reason: str = "") -> ConfigError:
        """An error that names the missing files and the ways to get them."""
        raw, root, *_ = self._places()
        there = max(map(find_files, (raw, root)), key=len)
        missing = [name for name in NAMES if name not in there]
        install = f"run `apt-get install {self.package}` (Debian, Ubuntu), or " if self.package else ""
        return ConfigError(
            f"root: no {type(self).__name__} in {self.root!r}: missing: {', '.join(missing)}"
            f"{f' ({reason})' if reason else ''}; {install}set download: true and connect to the network, or put "
            f"{', '.join(f'{name}.gz' for name in missing)} into {raw if there else self.root}"
        )

    def _source(self) -> Any:
        """The class of torchvision that knows the addresses of the files."""
        from torchvision import datasets

        return getattr(datasets, type(self).__name__)


class FashionMNIST(MNIST):
    """70,000 pictures of clothes in MNIST's format, 60,000 train and 10,000 test (Xiao et al. 2017).

    Found like MNIST, in `root`/FashionMNIST/raw or `root`, else where Debian's package dataset-fashion-mnist puts it.
    """

    class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    installed = Path("/usr/share/datasets/fashion-mnist")
    package = "dataset-fashion-mnist"
    sums = dict(
        zip(
            NAMES,
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        )
    )
