"""What data that are drawn by the program have in common."""

from abc import ABC

import numpy as np

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.errors import ConfigError
from lit_diffusion.seeding import derive_seed


class GeneratedData(ImageData, ABC):
    """Real values that are a function of the arguments alone, `data_seed` among them, and not of the run's seed.

    num_train, num_test: examples drawn for each split, of streams of their own.
    """

    num_levels = None

    def __init__(
        self,
        batch_size: int,
        eval_batch_size: int | None,
        seed: int | None,
        num_train: int,
        num_test: int,
        data_seed: int,
    ):
        super().__init__(batch_size, eval_batch_size, seed=seed)
        if num_train < 1 or num_test < 0:
            raise ConfigError(f"num_train: {num_train}, num_test: {num_test}; write 1 or more, and 0 or more")
        self.num_train, self.num_test, self.data_seed = num_train, num_test, data_seed

    def random(self, split: str) -> np.random.RandomState:
        """The random numbers of a split: of NumPy's generators the one whose numbers no later version changes."""
        return np.random.RandomState(np.random.PCG64(derive_seed(type(self).__name__, self.data_seed, split)))
