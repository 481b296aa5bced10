"""What Parquet and Arrow files have in common: shards of rows, with a column of images and one of labels."""

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from lit_diffusion.data.sources.image_columns import find_columns, read_labels
from lit_diffusion.data.sources.image_source import ImageSource, check_length, require
from lit_diffusion.data.sources.name_list import NameList
from lit_diffusion.data.sources.shards import common_folder, find_shards
from lit_diffusion.errors import ConfigError, one_line

SHOWN = 5  # columns in a message


class TableSource(ImageSource):
    """The rows of all shards, in order. A row is named by its image's path if all rows have different ones, else by its
    shard and number.

    argument: the setting that gives root, a file, folder or pattern; image_column, label_column: None to find them.
    Raises ConfigError if a shard is damaged, or has no such columns.
    """

    suffixes: tuple[str, ...]

    def __init__(self, argument: str, root: str, image_column: str | None = None, label_column: str | None = None):
        require("pyarrow", f"a {self.suffixes[0]} file")
        self.root, self.files = root, self._shards(argument, root)
        counts, labels, paths = list[int](), list[Any](), list[Any]()
        for number, file in enumerate(self.files):
            where = f"{argument}: {file}"
            try:
                columns = find_columns(self._schema(file), image_column, label_column)
                if number == 0:
                    self.columns = columns
                if columns != self.columns:
                    raise ConfigError(f"expected the columns and classes of {self.files[0]}, found others")
                counts.append(self._count(file))
                if columns.label:
                    labels += self._values(file, columns.label)
                if number == 0 and counts[0] and self._image(0, 0) is None:
                    raise ConfigError(
                        f"expected the bytes of images in column {columns.image}, found none, perhaps paths "
                        "only; embed the images, as save_to_disk and push_to_hub of `datasets` do"
                    )
                if columns.nested:
                    paths += self._values(file, columns.image, "path")
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error
            except Exception as error:  # pyarrow raises many kinds
                raise ConfigError(
                    f"{where}: cannot be read ({one_line(error) or type(error).__name__}); fetch it again"
                ) from error
        self._starts = np.cumsum([0, *counts])
        count = int(self._starts[-1])
        if not count:
            raise ConfigError(f"{argument}: no image in {root!r}; use files that have rows")
        if self.columns.label:
            try:
                self.labels, self.class_names = read_labels(labels, self.columns)
            except ConfigError as error:
                raise ConfigError(f"{argument}: {root}: {error}") from error
        elif others := self.columns.other_labels[:SHOWN]:
            self.label_advice = f"set data.label_column if a column has the classes: {', '.join(others)}"
        self._top = common_folder(self.files)
        self._shard_names = [os.path.relpath(file, self._top) for file in self.files]
        named = len(paths) == count and None not in paths and len({*paths}) == count
        self.names = NameList(paths if named else map(self._place, range(count)))

    def _shards(self, argument: str, root: str) -> list[str]:
        """The files of the rows, in order."""
        return find_shards(argument, root, self.suffixes)

    def where(self, index: int) -> str:
        return os.path.join(self._top, self._place(index))

    def read(self, index: int) -> bytes:
        shard = self._shard(index)
        content = self._image(shard, index - int(self._starts[shard]))
        if content is None:
            raise ValueError("the row holds no bytes; embed the images in the table")
        check_length(len(content))
        return content

    def _shard(self, index: int) -> int:
        return int(np.searchsorted(self._starts, index, side="right")) - 1

    def _place(self, index: int) -> str:
        shard = self._shard(index)
        return f"{self._shard_names[shard]}: row {index - int(self._starts[shard])}"

    @abstractmethod
    def _schema(self, file: str) -> Any:
        """The pyarrow schema of a shard."""

    @abstractmethod
    def _count(self, file: str) -> int:
        """The number of rows of a shard."""

    @abstractmethod
    def _values(self, file: str, column: str, field: str | None = None) -> Sequence[Any]:
        """A whole column of a shard, or a field of it if there is one."""

    @abstractmethod
    def _image(self, shard: int, row: int) -> bytes | None:
        """The bytes of an image."""
