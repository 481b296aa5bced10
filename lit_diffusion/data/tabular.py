"""Base class of vectors that stand as rows in a file of the user's."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from heapq import nsmallest

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.data.tabular_columns import Columns, RowTable, in_words
from lit_diffusion.data.tabular_files import read_table
from lit_diffusion.data.tabular_labels import by_number
from lit_diffusion.errors import ConfigError, blamed_on, check_at_least
from lit_diffusion.seeding import derive_seed


class TabularData(ImageData):
    """Rows of `dimensions` numbers from a file: NPY, NPZ (`PATH:NAME` if it has several arrays), CSV or Parquet.

    test_file: another file, the test split; or num_test: how many rows of file are set aside for it, those whose
    numbers have the lowest hashes, whatever the seed. columns: which to read, by name, or by number from 1 if they have
    no names; all by default. label_column: holds the class of each row, text or a number; classes are numbered in the
    order of the numbers, then of the text. header: whether the first line of a text file holds names; by default, if
    none of its cells is a number. delimiter: of the cells of a text file, by default a tab in `.tsv` files and a comma
    in others.
    """

    def __init__(
        self,
        file: str,
        dimensions: int,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        test_file: str | None = None,
        num_test: int = 0,
        columns: Sequence[str | int] | None = None,
        label_column: str | int | None = None,
        header: bool | None = None,
        delimiter: str | None = None,
    ):
        super().__init__(batch_size, eval_batch_size, seed=seed)
        check_at_least(1, dimensions=dimensions)
        check_at_least(0, num_test=num_test)
        if test_file is not None and num_test:
            raise ConfigError("test_file: num_test already sets rows of file aside; use only one of the two")
        if delimiter is not None and len(delimiter) != 1:
            raise ConfigError(f"delimiter: expected one character, got {delimiter!r}")
        self.image_shape = (dimensions,)
        self.file, self.test_file, self.num_test = file, test_file, num_test
        self.header, self.delimiter = header, delimiter
        chosen = None if columns is None else [str(name) for name in columns]
        label = None if label_column is None else str(label_column)
        if chosen is not None and len({*chosen}) != max(1, len(chosen)):
            raise ConfigError(f"columns: expected one or more different columns, got {in_words(chosen) or 'none'}")
        if chosen and label in chosen:
            raise ConfigError(f"label_column: expected a column besides `columns`, got {label!r}; omit it there")
        self.columns = Columns(chosen, label)

    def read(self) -> dict[str, MemoryStore]:
        train = self._table("file", self.file, self.columns)
        if self.test_file is not None:
            test = self._table(
                "test_file",
                self.test_file,
                Columns(train.read_from or train.names, self.columns.label, "data.test_file"),
            )
        else:
            aside = set_aside(len(train.values), self.num_test)
            train, test = train.rows(~aside), train.rows(aside)
        served = self.served(train.values, test.values, train.names)
        return {
            split: MemoryStore(x, self._classes(table.labels))
            for (split, x), table in zip(served.items(), (train, test))
        }

    @abstractmethod
    def encode(self, table: RowTable) -> np.ndarray:
        """The values of a table, (N, D). Raises ConfigError that names the place of one that is not allowed."""

    @abstractmethod
    def served(self, train: np.ndarray, test: np.ndarray, names: list[str]) -> dict[str, Tensor]:
        """What `MemoryStore` holds of both splits. names: of the columns."""

    def _table(self, setting: str, file: str, columns: Columns) -> RowTable:
        """The chosen columns of the file that a setting names, as `encode` returns them."""
        with blamed_on(f"data.{setting}"):
            table = read_table(file, columns, self.header, self.delimiter)
            found, (dimensions,) = table.values.shape[1], self.image_shape
            if found != dimensions:
                raise ConfigError(
                    f"expected {found}, the columns of {file} ({in_words(table.names)}), got {dimensions}; set "
                    f"--data.dimensions={found}, or choose {dimensions} by `columns`",
                    key="data.dimensions",
                )
            return replace(table, values=self.encode(table))

    def _classes(self, labels: list[str] | None) -> Tensor | None:
        """Numbers of the classes (N,), in the order of the names that the first split, for training, has."""
        if labels is None:
            return None
        if not self.class_names:
            self.class_names = tuple(sorted(set(labels), key=by_number))
        if unknown := set(labels) - {*self.class_names}:
            raise ConfigError(f"no training row has the class {min(unknown)!r} of a test row", key="data.label_column")
        numbers = {name: i for i, name in enumerate(self.class_names)}
        return torch.tensor([numbers[label] for label in labels])


def set_aside(count: int, num_test: int) -> np.ndarray:
    """Which of `count` rows are test rows, (N,) bool. Raises ConfigError if fewer than two are left to train on."""
    if num_test > count - 2:
        raise ConfigError(f"num_test: expected {count - 2} or less for {count} rows, got {num_test}")
    test = np.zeros(count, dtype=bool)
    test[nsmallest(num_test, range(count), key=lambda row: derive_seed("test", row))] = True
    return test
