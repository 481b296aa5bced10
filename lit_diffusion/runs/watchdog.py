"""No process of a run outlives the one that started it."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PERIOD = 2.0  # seconds
STARTED_BY = "LIT_DIFFUSION_STARTED_BY"  # the process that a run belongs to, as a sweep
FIRST = "LIT_DIFFUSION_FIRST_PROCESS"  # of a distributed run: the others inherit its number


@contextmanager
def end_with_parent() -> Iterator[None]:
    """Ends this process, with an error, soon after the process that started it has ended: a sweep, or the first of a
    distributed run.

    Lightning's first process ends the others when one of them dies. Nothing watches the first: the others would notice
    its death at their next exchange, which while sampling may be an hour away. They are told its number, as it may have
    died before they come to this line. What this process starts afterwards is not of the run, and is not told.
    """
    own, told = str(os.getpid()), os.environ.get(FIRST)
    if STARTED_BY in os.environ:
        watch_for(int(os.environ.pop(STARTED_BY)))  # its own children have another parent
    elif "LOCAL_RANK" in os.environ:
        watch_for(int(told or os.getppid()))  # another launcher, as torchrun, tells nothing
    os.environ[FIRST] = own
    try:
        yield
    finally:
        del os.environ[FIRST]


def watch_for(parent: int) -> None:
    """Ends this process when that is not, or no longer, its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PERIOD)
        print("the process that started this one has died, and so it ends", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()
