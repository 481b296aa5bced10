"""The folder of a run: chosen once, never one that exists, and gone again if the run does not get to its first step."""

import errno
import os
import shutil
import time
from pathlib import Path

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import UNFINISHED
from lit_diffusion.runs.file_lock import lock_file

# Lightning starts the other processes of a run from the first: they inherit its choice.
VARIABLE = "LIT_DIFFUSION_RUN_FOLDER"
_held: dict[Path, int] = {}  # folders that this process holds, with the descriptors of their locks


def default_name(config_files: list[Path]) -> str:
    """The names of the configuration files and the time, as `digits-variational_bound-20261121-235959`."""
    return "-".join([*(path.stem for path in config_files), time.strftime("%Y%m%d-%H%M%S")])


def reserve(folder: Path) -> Path:
    """Makes `folder`, or where it exists `folder`-2, -3, ..., and returns what it made."""
    candidate, number = folder, 1
    while True:
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            number += 1
            candidate = folder.with_name(f"{folder.name}-{number}")
        except OSError as error:
            raise folder_error(error, folder) from error
        else:
            os.environ[VARIABLE] = str(candidate)
            hold(candidate)
            return candidate


def continued(folder: Path, anew: bool) -> None:
    """Takes a folder that is there, for a run that goes on in it, without what a killed process left half written.

    anew: the run begins at its first step. Raises ConfigError while another process writes to the folder.
    """
    os.environ[VARIABLE] = str(folder)
    hold(folder)
    for file in folder.rglob(UNFINISHED):
        if file.is_file() or file.is_symlink():
            file.unlink(missing_ok=True)
    if anew:
        (folder / "metrics.csv").unlink(missing_ok=True)


def hold(folder: Path) -> None:
    """Until this process ends, whatever ends it, no other may write to the folder. Raises ConfigError if one does."""
    try:
        _held[folder] = lock_file(folder / ".lock")
    except BlockingIOError:
        raise ConfigError(
            f"{folder} is being written by another process; wait for its end, or write another run.name",
            key="run.name",
        ) from None


def inherited() -> Path | None:
    """The folder that the first process of this run has reserved, if that was another process."""
    return Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def release(folder: Path, remove: bool) -> None:
    """The end of a run in a folder that `reserve` made; `remove` deletes it with what is in it."""
    os.environ.pop(VARIABLE, None)
    if folder in _held:
        (folder / ".lock").unlink(missing_ok=True)
        os.close(_held.pop(folder))
    if remove:
        shutil.rmtree(folder, ignore_errors=True)


def check_space(folder: Path, num_parameters: int) -> None:
    """Raises ConfigError unless the disk holds two checkpoints of weights, average and Adam's two moments."""
    needed, free = 2 * 16 * num_parameters + 10 * 2**20, shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{folder.parent} has {free / 2**20:,.0f} MiB free, the run needs {needed / 2**20:,.0f} MiB for its "
            "checkpoints; make room, or write another run.dir",
            key="run.dir",
        )


def folder_error(error: OSError, folder: Path) -> ConfigError:
    """What a user can do about a run folder that cannot be made or written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"no space left on the disk of {folder}; make room, or write another run.dir"
    else:
        message = f"cannot write {folder} ({error.strerror}); write a run.dir that you may write to"
    return ConfigError(message, key="run.dir")


def foreign_folder(folder: Path, remedy: str, key: str | None = None) -> ConfigError:
    """The error for a folder that is in the place of a run but is not a run; its message ends with `remedy`."""
    return ConfigError(f"{folder} exists and is not a run; {remedy}", key=key)
