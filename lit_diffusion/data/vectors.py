"""Vectors of real values from a file: points, measurements, embeddings."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.data.tabular import TabularData
from lit_diffusion.data.tabular_columns import RowTable
from lit_diffusion.errors import ConfigError

LARGEST = float(np.finfo(np.float32).max)


class Vectors(TabularData):
    """Rows of `dimensions` real numbers: (dimensions,) real values.

    standardize: serve each column with mean 0 and variance 1 over the training split, as the schedules expect. Samples,
    and log-likelihoods in bits, are given in the units of the file: x = mean + std z has the density p(z) / prod(std).
    Otherwise values are served as they are.
    """

    num_levels = None

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
        standardize: bool = True,
    ):
        super().__init__(
            *(file, dimensions, batch_size, eval_batch_size, seed, test_file, num_test, columns, label_column),
            *(header, delimiter),
        )
        self.standardize = standardize
        self._mean, self._std = np.zeros(dimensions), np.ones(dimensions)

    def restore(self, x: Tensor) -> Tensor:
        return (x.cpu().double() * torch.from_numpy(self._std) + torch.from_numpy(self._mean)).float()

    def encode(self, table: RowTable) -> np.ndarray:
        wrong = np.argwhere(~(np.abs(table.values) <= LARGEST))
        if len(wrong):
            row, column = wrong[0]
            value = table.values[row, column]
            raise ConfigError(
                f"{table.place(row, column)}: expected a finite number below 3.4e38, got {value:g}; fix or remove "
                f"it ({len(wrong)} of {table.values.size} values are like this)"
            )
        return table.values

    def served(self, train: np.ndarray, test: np.ndarray, names: list[str]) -> dict[str, Tensor]:
        std = train.std(axis=0)
        constant = (train.min(axis=0) == train.max(axis=0)) | (std <= 0)
        if constant.any():
            column = constant.argmax()
            raise ConfigError(
                f"column {names[column]} is {train[0, column]:g} in all {len(train)} training rows, so that it has no "
                "density; omit it from `columns`",
                key="data.columns",
            )
        if self.standardize:
            self._mean, self._std = train.mean(axis=0), std
            self.log_volume = float(np.log(std).sum())
            self.extent = 3.0  # standard deviations
        else:
            self.extent = float(np.abs(train).max())
        return {
            split: torch.from_numpy((x - self._mean) / self._std).float()
            for split, x in (("train", train), ("test", test))
        }
