"""Many names in two arrays."""

import os
from array import array
from collections.abc import Iterable

import numpy as np


class NameList:
    """Names by number. In two arrays, not objects, whose reference counts would make every worker copy the memory."""

    def __init__(self, names: Iterable[str | bytes]):
        text, ends = bytearray(), array("q", [0])
        for name in names:
            text += os.fsencode(name)
            ends.append(len(text))
        self._text, self._ends = np.frombuffer(text, np.uint8), np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """A name as bytes."""
        return self._text[self._ends[index] : self._ends[index + 1]].tobytes()
