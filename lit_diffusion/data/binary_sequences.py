"""Binary sequences from a file, for the binomial family."""

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.data.tabular import TabularData
from lit_diffusion.data.tabular_columns import RowTable
from lit_diffusion.errors import ConfigError


class BinarySequences(TabularData):
    """Rows of `dimensions` bits, written as 0 and 1, -1 and 1, or False and True: (dimensions,), served as -1 and 1."""

    num_levels = 2

    def encode(self, table: RowTable) -> np.ndarray:
        low = -1.0 if (table.values == -1).any() else 0.0
        wrong = np.argwhere((table.values != low) & (table.values != 1))
        if len(wrong):
            row, column = wrong[0]
            raise ConfigError(
                f"{table.place(row, column)}: expected 0 and 1, or -1 and 1, got {table.values[row, column]:g} in a "
                f"file with {low:g}; use Vectors for real values"
            )
        return (table.values == 1).astype(np.uint8)

    def served(self, train: np.ndarray, test: np.ndarray, names: list[str]) -> dict[str, Tensor]:
        return {"train": torch.from_numpy(train), "test": torch.from_numpy(test)}
