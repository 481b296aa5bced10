"""Files of a run: written to a temporary name and renamed, so that nobody ever reads half a file."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lit_diffusion.errors import ConfigError

UNFINISHED = ".*.unfinished*"  # what `written_whole` leaves where its process is killed


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, of its suffix, which takes its place if the context ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.unfinished{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which takes its place if the context ends without an error. `folder` must not
    be there, or be empty. Raises ConfigError where the disk does not do.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); write another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def linked(file: Path, name: Path) -> None:
    """`name` becomes another name of `file`, in one move; a copy where the disk knows no links."""
    with written_whole(name) as temporary:
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)
