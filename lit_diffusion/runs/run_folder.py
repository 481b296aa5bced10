"""Run folders: created once, never reused, removed if training fails before its first step."""

import errno
import os
import shutil
import time
from pathlib import Path

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import UNFINISHED
from lit_diffusion.runs.file_lock import lock_file

# The other processes of a run inherit the choice of the first, from which Lightning starts them.
VARIABLE = "LIT_DIFFUSION_RUN_FOLDER"
TENSORBOARD = "tensorboard"  # the folder of its events in that of the run
_held: dict[Path, int] = {}  # folders locked by this process, with the descriptors of their locks


def default_name(config_files: list[Path]) -> str:
    """The names of the configuration files and the time: `digits-variational_bound-20261121-235959`."""
    return "-".join([*(path.stem for path in config_files), time.strftime("%Y%m%d-%H%M%S")])


def reserve(folder: Path) -> Path:
    """Creates `folder`, or if it exists `folder`-2, -3, ..., and returns what it created."""
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
    """Takes an existing folder for a run that resumes in it, and removes what a killed process left half written.

    anew: the run starts at step 0. Raises ConfigError while another process uses the folder.
    """
    os.environ[VARIABLE] = str(folder)
    hold(folder)
    for file in folder.rglob(UNFINISHED):
        if file.is_file() or file.is_symlink():
            file.unlink(missing_ok=True)
    if anew:
        for file in (folder / "metrics.csv", *event_files(folder / TENSORBOARD)):
            file.unlink(missing_ok=True)


def event_files(folder: Path) -> list[Path]:
    """TensorBoard's, by name and so by age."""
    return sorted(folder.glob("events.out.tfevents.*"))


def hold(folder: Path) -> None:
    """Locks the folder until this process ends, however it ends. Raises ConfigError if another process uses it."""
    try:
        _held[folder] = lock_file(folder / ".lock")
    except BlockingIOError:
        raise ConfigError(
            f"{folder} is in use by another process; wait until it ends, or set another run.name",
            key="run.name",
        ) from None


def inherited() -> Path | None:
    """The folder reserved by the first process of this run, if that is another process."""
    return Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def release(folder: Path, remove: bool) -> None:
    """Ends the use of a folder; `remove` deletes it with its content."""
    os.environ.pop(VARIABLE, None)
    if folder in _held:
        (folder / ".lock").unlink(missing_ok=True)
        os.close(_held.pop(folder))
    if remove:
        shutil.rmtree(folder, ignore_errors=True)


def check_space(folder: Path, num_parameters: int) -> None:
    """Raises ConfigError unless the disk has room for two checkpoints of weights, average and Adam's two moments."""
    needed, free = 2 * 16 * num_parameters + 10 * 2**20, shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{folder.parent} has {free / 2**20:,.0f} MiB free, but the checkpoints need {needed / 2**20:,.0f} "
            "MiB; free some space, or set another run.dir",
            key="run.dir",
        )


def folder_error(error: OSError, folder: Path) -> ConfigError:
    """The error for a run folder that cannot be created or written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"no space left on the disk of {folder}; free some space, or set another run.dir"
    else:
        message = f"cannot write {folder} ({error.strerror}); set run.dir to a folder that you may write to"
    return ConfigError(message, key="run.dir")


def foreign_folder(folder: Path, remedy: str, key: str | None = None) -> ConfigError:
    """The error for a folder that exists but is not a run; its message ends with `remedy`."""
    return ConfigError(f"{folder} exists and is not a run; {remedy}", key=key)
