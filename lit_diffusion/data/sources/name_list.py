"""Many names in two arrays."""

import os
from collections.abc import Iterable

import numpy as np


class NameList:
    """Names by number. In two arrays, not objects, whose reference counts would make every worker copy the memory."""

    def __init__(self, names: Iterable[str | bytes]):
        encoded = [os.fsencode(name) for name in names]
        self._text = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """A name as bytes."""
        return self._text[self._ends[index] : self._ends[index + 1]].tobytes()
