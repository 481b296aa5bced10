"""A job: one cell of a sweep as a process with a folder."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit_diffusion.config.relevance import CHECKPOINT, affects_scores, check_same_experiment
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import checkpoint_files, summary
from lit_diffusion.runs.file_lock import lock_file
from lit_diffusion.runs.run_folder import foreign_folder
from lit_diffusion.runs.watchdog import STARTED_BY

ENDS = ("finished", "diverged")  # never run again
# Cells start as this process did: unlike the installed command, `python -m` finds classes in the working folder.
INSTALLED = Path(sys.argv[0]).name in ("lightning", "lit-diffusion")
PROGRAM = (sys.executable, sys.argv[0]) if INSTALLED else (sys.executable, "-m", "lit_diffusion")
KILL_AFTER = 60.0  # seconds after a request to end


class Job:
    """A cell's command and its state.

    state: waiting; running; elsewhere, while another sweep runs it; then finished, diverged or failed. The process
    holds a lock, so that no two sweeps run one cell, even if the first was killed and its process lives on.
    """

    def __init__(self, name: str, command: list[str], out: Path, settings: Mapping[str, Any]):
        self.name, self.command, self.settings = name, command, settings
        self.folder, self.out = out / name, out
        self.log = out / "logs" / f"{name}.log"
        self.state, self.reason = "waiting", ""
        self.slot = 0
        self.first_step = 0  # of this sweep, if it continues an earlier one
        self._process: subprocess.Popen[bytes] | None = None
        self._begin = self._end = 0.0
        self._log_begin = 0
        self._seen: tuple[float, tuple[int, float | None]] = (0.0, (0, None))

    @property
    def arguments(self) -> list[str]:
        """The command line after `lightning`."""
        checkpoint = self.settings.get("ckpt_path") if self.command[0] != "fit" else None
        named = [f"--ckpt_path={checkpoint}"] if checkpoint else []
        return [*self.command, *named, f"--run.dir={self.out}", f"--run.name={self.name}"]

    @property
    def total_steps(self) -> int:
        """Steps of training; 0 without training."""
        return int(self.settings.get("trainer.max_steps") or 0) if self.command[0] == "fit" else 0

    @property
    def seconds(self) -> float:
        """How long it has been running in this sweep."""
        return (self._end or time.monotonic()) - self._begin if self._begin else 0.0

    def summary(self) -> dict[str, Any] | None:
        """The run's summary, if there is one. Raises ConfigError if it is unreadable."""
        path = self.folder / summary.FILE
        return summary.read(path) if path.exists() else None

    def check(self) -> None:
        """Updates the state if the run has ended. Raises ConfigError if the folder holds another experiment."""
        found = self.summary()
        if found is None:
            return
        compares_checkpoint = self.command[0] != "fit"
        check_same_experiment(
            self.folder,
            found.get("settings") or {},
            self.settings,
            lambda key: affects_scores(key) and (compares_checkpoint or key != CHECKPOINT),
            "choose another --out",
        )
        if found.get("status") in ENDS:
            self.state, self.reason = found["status"], found.get("reason", "")

    def start(self, environment: Mapping[str, str]) -> None:
        """Starts the cell, from its newest checkpoint if there is one, unless it has ended or runs elsewhere."""
        lock = -1
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            lock = lock_file(self.log.with_suffix(".lock"))
            self.state = "waiting"
            self.check()
            if self.state == "waiting":
                self._run([*self.arguments, *self._prepare_folder()], environment, lock)
        except BlockingIOError:
            self.state = "elsewhere"
        except (ConfigError, OSError) as error:
            self.state, self.reason = "failed", str(error)
        finally:
            if lock >= 0:
                os.close(lock)  # the process has a copy

    def _prepare_folder(self) -> list[str]:
        """The option that resumes the run; without a checkpoint its folder is removed, if it is that of a run."""
        if self.command[0] == "fit" and checkpoint_files.newest(self.folder / "checkpoints"):
            return ["--ckpt_path=last"]
        if self.folder.exists():
            ours = self.folder.is_dir() and not self.folder.is_symlink()
            if not ours or (any(self.folder.iterdir()) and not (self.folder / "config.yaml").exists()):
                raise foreign_folder(self.folder, "move it, or choose another --out")
            shutil.rmtree(self.folder)  # a run without a checkpoint yet
        return []

    def _run(self, arguments: list[str], environment: Mapping[str, str], lock: int) -> None:
        with self.log.open("ab") as log:
            self._log_begin = log.tell()
            self._process = subprocess.Popen(
                [*PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, STARTED_BY: str(os.getpid())},
                start_new_session=True,  # Ctrl-C reaches the sweep only, which ends its processes
                pass_fds=(lock,),
            )
        self.state, self._begin, self._end = "running", time.monotonic(), 0.0
        self.first_step = self.progress()[0]

    def poll(self) -> None:
        """Updates the state if the process has ended."""
        if self._process is None or self._process.poll() is None:
            return
        status, self._process, self._end = self._process.returncode, None, time.monotonic()
        try:
            self.check()
        except ConfigError as error:
            self.state, self.reason = "failed", str(error)
        if self.state not in ENDS:
            killed = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
            self.state, self.reason = "failed", killed if status < 0 else self.last_line() or killed

    def ask_to_stop(self) -> None:
        """Asks the process to save and end, without waiting for it."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Waits for the process that was asked to end, and kills it if it does not."""
        if self._process is None:
            return
        try:
            self._process.wait(KILL_AFTER)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process, self.state = None, "waiting"

    def last_line(self) -> str:
        """The last line that the process printed."""
        printed = self.log.read_bytes()[self._log_begin :] if self.log.exists() else b""
        lines = printed.decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def progress(self) -> tuple[int, float | None]:
        """Steps done and the last loss, from metrics.csv."""
        path = self.folder / "metrics.csv"
        try:
            written = path.stat().st_mtime
            if written != self._seen[0]:
                with path.open(newline="") as file:
                    losses = [(row["step"], row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]
                step, loss = (int(losses[-1][0]) + 1, float(losses[-1][1])) if losses else (0, None)
                self._seen = written, (step, loss)
        except (OSError, ValueError, KeyError):
            pass  # not there yet, or half written: read next time
        return self._seen[1]
