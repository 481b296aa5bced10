"""Locks on files, by which processes agree who writes to a folder; they end with the process, however it ends."""

import fcntl
import os
from pathlib import Path


def lock_file(path: Path, wait: bool = False) -> int:
    """A descriptor that holds an exclusive lock on a file, until it and its copies in other processes are closed.

    wait: until the lock is free; otherwise raises BlockingIOError if another process holds it. A disk without locks
    grants every lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a disk without locks
        pass
    return descriptor
