"""Room on the disks, and whether runs can be written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lit_diffusion.doctor.finding import GB, PROBLEM, Finding, of_error, ok, problem, warning
from lit_diffusion.runs.run_folder import folder_error

LEAST = 1 * GB  # free, below which a run of any length is at risk


def examine(run_dir: Path) -> Iterator[Finding]:
    """The folders of runs, of data and of temporary files. Nothing is left behind in them."""
    yield writable("runs", run_dir)
    yield space("data", Path("data"), "write another folder as --data.root")
    try:
        yield space("temporary", Path(tempfile.gettempdir()), "set TMPDIR to another folder")
    except FileNotFoundError as error:
        yield problem("temporary", f"there is no folder to write to ({error.strerror})", "set TMPDIR to one")


def writable(subject: str, folder: Path) -> Finding:
    """A problem where a run could not make its folder and write to it."""
    try:
        with tempfile.TemporaryFile(dir=existing(folder)) as file:
            file.write(bytes(2**16))
            file.flush()
    except OSError as error:
        return of_error(subject, PROBLEM, folder_error(error, folder.absolute()), path=str(folder.absolute()))
    return space(subject, folder, "write another folder as --run.dir", note=", writable")


def space(subject: str, folder: Path, instead: str, note: str = "") -> Finding:
    """What is free for a folder that need not exist yet; `instead` says how to have it elsewhere."""
    free = shutil.disk_usage(existing(folder)).free
    text, facts = (
        f"{folder.absolute()}{note}, {free / GB:,.1f} GB free",
        {"path": str(folder.absolute()), "free_bytes": free},
    )
    if free < LEAST:
        return warning(subject, text, f"make room, or {instead}", **facts)
    return ok(subject, text, **facts)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one around it that is there."""
    folder = folder.expanduser().absolute()
    return next(one for one in (folder, *folder.parents) if os.path.exists(one))  # no error where one may not look
