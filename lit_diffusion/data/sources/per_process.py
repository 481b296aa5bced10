"""Handles that never cross a fork."""

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """What `open_it` returns, opened on first use in each process.

    A file's position is shared with forked processes, and libraries that map files forbid to use one after a fork. What
    a parent has opened is kept and never closed here, since closing may write. Pickled without what is open.
    """

    def __init__(self, open_it: Callable[[], T]):
        self._open = open_it
        self._opened: dict[int, T] = {}

    def __call__(self) -> T:
        process = os.getpid()
        if process not in self._opened:
            self._opened[process] = self._open()
        return self._opened[process]

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": self._open, "_opened": {}}
