"""No process of a run outlives the one that started it."""

import os
import sys
import threading
import time

PERIOD = 2.0  # seconds
STARTED_BY = "LIT_DIFFUSION_STARTED_BY"  # the process that a run belongs to, as a sweep


def end_with_parent() -> None:
    """Ends this process, with an error, soon after the process that started it has ended.

    Lightning's first process ends the others when one of them dies. Nothing watches the first: the others would notice
    its death at their next exchange, which while sampling may be an hour away.
    """
    parent = int(os.environ.pop(STARTED_BY, os.getppid()))  # its own children have another parent

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PERIOD)
        print("the process that started this one has died, and so it ends", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()
