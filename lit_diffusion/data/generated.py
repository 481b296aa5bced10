"""Base class of synthetic data."""

from abc import ABC, abstractmethod

import numpy as np

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import check_at_least
from lit_diffusion.seeding import derive_seed


class GeneratedData(ImageData, ABC):
    """Real values that are a function of the arguments, including `data_seed`, and not of the run's seed.

    num_train, num_test: examples drawn for each split, from independent streams.
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
        check_at_least(1, num_train=num_train)
        check_at_least(0, num_test=num_test)
        self.num_train, self.num_test, self.data_seed = num_train, num_test, data_seed

    def read(self) -> dict[str, MemoryStore]:
        return {"train": self.draw("train", self.num_train), "test": self.draw("test", self.num_test)}

    @abstractmethod
    def draw(self, split: str, count: int) -> MemoryStore:
        """`count` examples of a split."""

    def random(self, split: str) -> np.random.RandomState:
        """The random generator of a split: the NumPy generator whose numbers stay the same in later versions."""
        return np.random.RandomState(np.random.PCG64(derive_seed(type(self).__name__, self.data_seed, split)))
