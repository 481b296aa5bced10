"""The memory that this process may use: the machine's, or less in a container or a job."""

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


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
