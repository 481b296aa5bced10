"""The memory that this process may use, the machine's or less in a container or a job, and whether it keeps it."""

import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST_BLOCK = 2**31 - 1  # bytes, the largest value of an int


def machine_memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def usable_memory() -> int:
    """The bytes that this process may use: the machine's memory, or less if a control group limits it."""
    return min([machine_memory(), *group_limits()])


def group_limits() -> Iterator[int]:
    """The limits of this process's control group (version 2) and of the enclosing groups, in bytes."""
    if OWN_GROUP.exists():
        name = OWN_GROUP.read_text().strip().splitlines()[-1].rpartition(":")[2].lstrip("/")
        for group in (GROUPS / name, *(GROUPS / name).parents):
            file = group / "memory.max"
            if file.is_file() and (text := file.read_text().strip()).isdecimal():
                yield int(text)


def keep_freed_memory() -> None:
    """Lets glibc keep what tensors on the CPU free for the next ones, until the process ends.

    By default it returns large blocks to the system and gets them back page by page, which took up to half of the time
    of a network on a CPU. Does nothing with other C libraries.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(option, LARGEST_BLOCK)
