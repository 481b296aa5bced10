"""Files written to a temporary name and then renamed, so that nobody ever reads half a file."""

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

UNFINISHED = ".*.unfinished*"  # left behind by `written_whole` if its process is killed


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to `path`, with its suffix; it replaces `path` if the context ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.unfinished{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `folder`; it replaces `folder`, which must not exist or be empty, if the
    context ends without error. Raises ConfigError if the folder cannot be written.
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
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save(content: Any, file: Path) -> None:
    """torch.save, flushed to the disk: a file's name must not appear there before its data.

    Raises OSError if writing fails, and whatever a signal handler raises; torch hides both behind a RuntimeError about
    a file that ends too early.
    """
    import torch  # takes seconds, which commands that save nothing are spared

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
    """Raises ValueError unless every part of a torch.save archive matches its checksum, which torch ignores, and is
    stored uncompressed: weights never unpack to more than the file holds.
    """
    with zipfile.ZipFile(file) as parts:
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
            raise ValueError("its parts are compressed")
        if damaged := parts.testzip():
            raise ValueError(f"{damaged} is damaged")


def check_free(folder: Path, option: str) -> None:
    """Raises ConfigError unless a folder can be created there: it does not exist, or is empty."""
    try:
        is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise ConfigError(f"{option}: cannot create a folder there ({error.strerror}); choose another") from error
    if not is_free:
        raise ConfigError(f"{option}: {folder} already exists; choose another, or remove it")


def linked(file: Path, name: Path) -> None:
    """Makes `name` another name of `file`, atomically; a copy if the disk supports no links."""
    with written_whole(name) as temporary:
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)
