"""What surrounds a download: a limit on waiting, and nothing left behind if it fails."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lit_diffusion.errors import ConfigError

TIMEOUT = 30.0  # seconds; torchvision sets none and would wait for minutes behind a silent firewall


@contextmanager
def downloading_into(folder: Path) -> Iterator[None]:
    """Limits the time of connections. After a ConfigError, removes the folders down to `folder` if made and empty."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    except ConfigError:
        for one in made:
            with suppress(OSError):  # not made, or not empty
                one.rmdir()
        raise
    finally:
        socket.setdefaulttimeout(before)
