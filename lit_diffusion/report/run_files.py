"""Files in run folders, which nobody vouches for: regular ones only, through no link, of limited size."""

import os
import stat
from pathlib import Path

from lit_diffusion.errors import ConfigError


def read_part(folder: Path, name: str, most: int) -> bytes | None:
    """The content of a file in the folder of a run, None if there is none.

    name: relative to the folder. most: bytes. Raises ConfigError, which begins with the name, for links, so that a
    page holds nothing from outside the folder, for what is not a regular file, and for a file that is too large.
    """
    path = folder / name
    if not os.path.lexists(path):
        return None
    if os.path.realpath(path) != os.path.join(os.path.realpath(folder), name):
        raise ConfigError(f"{name}: a link, which is not followed; replace it by a copy")
    try:
        # A FIFO would block, and what was a file a moment ago may be a link now.
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{name}: not a regular file; remove it")
            if status.st_size > most:
                raise ConfigError(f"{name}: expected at most {most >> 20} MB, got {status.st_size >> 20}; left out")
            return file.read(most)
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror})") from error


def list_parts(folder: Path, inside: str) -> list[str]:
    """The names of what is in a folder within that of a run, relative to the latter, in order."""
    try:
        return sorted(f"{inside}/{name}" for name in os.listdir(folder / inside))
    except OSError:
        return []
