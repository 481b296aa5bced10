"""No process of a run outlives its parent."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PERIOD = 2.0  # seconds
STARTED_BY = "LIT_DIFFUSION_STARTED_BY"  # process id of the sweep that a run belongs to
FIRST = "LIT_DIFFUSION_FIRST_PROCESS"  # of a distributed run: the others inherit its process id


@contextmanager
def end_with_parent() -> Iterator[None]:
    """Ends this process with an error soon after its parent has died: a sweep, or the first of a distributed run.

    Lightning's first process ends the others when one of them dies, but nothing watches the first: the others would
    notice its death at their next collective, which may be an hour away during sampling. They inherit its process id,
    as it may have died before they get here. Processes started after this context do not belong to the run.
    """
    own, first = str(os.getpid()), os.environ.get(FIRST)
    if STARTED_BY in os.environ:
        watch_for(int(os.environ.pop(STARTED_BY)))  # not for its children, whose parent is another
    elif "LOCAL_RANK" in os.environ:
        watch_for(int(first or os.getppid()))  # other launchers, such as torchrun, set no variable
    os.environ[FIRST] = own
    try:
        yield
    finally:
        del os.environ[FIRST]


def watch_for(parent: int) -> None:
    """Ends this process when `parent` is not, or no longer, its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PERIOD)
        print("parent process died; exiting", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()
