"""Files of a run: written to a temporary name and renamed, so that nobody ever reads half a file."""

import glob
import os
import shutil
import sys
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.????????.unfinished"):
            shutil.rmtree(left, ignore_errors=True)  # by a process that was killed
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); write another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save(content: Any, file: Path) -> None:
    """torch.save, until it is on the disk: the name of a file must not come there before its data.

    Raises OSError where the disk does not do, and what a signal's handler raises; torch hides both behind a
    RuntimeError of its own, about a file that ends too early.
    """
    import torch  # seconds, for which commands that save nothing do not wait

    handled = sys.exc_info()[1]
    try:
        with file.open("wb") as opened:
            torch.save(content, opened)
            opened.flush()
            os.fsync(opened.fileno())
    except RuntimeError as error:
        if error.__context__ in (None, handled):
            raise
        raise error.__context__ from None


def check_archive(file: Path) -> None:
    """Raises ValueError unless every part of an archive of torch.save is whole, down to its checksum, which torch does
    not look at, and stored as it is: what unpacks to more than the file holds is no weights.
    """
    with zipfile.ZipFile(file) as parts:
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
            raise ValueError("its parts are compressed")
        if damaged := parts.testzip():
            raise ValueError(f"{damaged} is damaged")


def check_free(folder: Path, option: str) -> None:
    """Raises ConfigError unless a folder can be made there: there is none yet, or an empty one."""
    try:
        is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise ConfigError(f"{option}: no folder can be made there ({error.strerror}); write another") from error
    if not is_free:
        raise ConfigError(f"{option}: {folder} is there already; write another, or remove it")


def linked(file: Path, name: Path) -> None:
    """`name` becomes another name of `file`, in one move; a copy where the disk knows no links."""
    with written_whole(name) as temporary:
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)
