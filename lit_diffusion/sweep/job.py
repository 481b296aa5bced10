"""One cell of a sweep: a process of its own in a folder of its own."""

import csv
import fcntl
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
from lit_diffusion.runs.watchdog import STARTED_BY

ENDS = ("finished", "diverged")  # what is never run again
# As this process was started: `python -m` finds a user's classes in the working folder, the installed command does not.
INSTALLED = Path(sys.argv[0]).name in ("lightning", "lit-diffusion")
PROGRAM = (sys.executable, sys.argv[0]) if INSTALLED else (sys.executable, "-m", "lit_diffusion")
KILL_AFTER = 60.0  # seconds that a process has to end by itself


class Job:
    """A cell's command and what has become of it.

    state: waiting; running; elsewhere, while another sweep runs it; then finished, diverged or failed. A lock that the
    process itself holds keeps two sweeps from running one cell, also where the first was killed and its process lives.
    """

    def __init__(self, name: str, command: list[str], out: Path, settings: Mapping[str, Any]):
        self.name, self.command, self.settings = name, command, settings
        self.folder, self.out = out / name, out
        self.log = out / "logs" / f"{name}.log"
        self.state, self.reason = "waiting", ""
        self.slot = 0
        self.first_step = 0  # of this sweep, where an earlier one has come so far
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
        """Steps of training, 0 where there is none."""
        return int(self.settings.get("trainer.max_steps") or 0) if self.command[0] == "fit" else 0

    @property
    def seconds(self) -> float:
        """How long it has run in this sweep."""
        return (self._end or time.monotonic()) - self._begin if self._begin else 0.0

    def summary(self) -> dict[str, Any] | None:
        """What the run's folder says of it. Raises ConfigError where its summary is unreadable."""
        path = self.folder / summary.FILE
        return summary.read(path) if path.exists() else None

    def check(self) -> None:
        """Takes note of a cell that has ended. Raises ConfigError where the folder holds another experiment's run."""
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
        """Runs the cell, from its newest checkpoint if it has one, unless it has ended or runs elsewhere."""
        lock = -1
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.log.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.state = "waiting"
            self.check()
            if self.state == "waiting":
                self._run([*self.arguments, *self._resumed()], environment, lock)
        except BlockingIOError:
            self.state = "elsewhere"
        except (ConfigError, OSError) as error:
            self.state, self.reason = "failed", str(error)
        finally:
            if lock >= 0:
                os.close(lock)  # the process has its own

    def _resumed(self) -> list[str]:
        if self.command[0] == "fit" and checkpoint_files.newest(self.folder / "checkpoints"):
            return ["--ckpt_path=last"]
        if self.folder.exists():
            ours = self.folder.is_dir() and not self.folder.is_symlink()
            if not ours or (any(self.folder.iterdir()) and not (self.folder / "config.yaml").exists()):
                raise ConfigError(f"{self.folder} is in the way, and no run; move it, or write another --out")
            shutil.rmtree(self.folder)  # a run that had not come to a checkpoint
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
                start_new_session=True,  # Ctrl-C is for the sweep, which ends its processes itself
                pass_fds=(lock,),
            )
        self.state, self._begin, self._end = "running", time.monotonic(), 0.0
        self.first_step = self.progress()[0]

    def poll(self) -> None:
        """Notes the end of the process."""
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

    def stop(self) -> None:
        """Asks the process to end, and waits until it has."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(KILL_AFTER)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process, self.state = None, "waiting"

    def last_line(self) -> str:
        """Of what the process has printed."""
        printed = self.log.read_bytes()[self._log_begin :] if self.log.exists() else b""
        lines = printed.decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def progress(self) -> tuple[int, float | None]:
        """Steps done, and the last loss, as metrics.csv has them."""
        path = self.folder / "metrics.csv"
        try:
            written = path.stat().st_mtime
            if written != self._seen[0]:
                with path.open(newline="") as file:
                    losses = [(row["step"], row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]
                step, loss = (int(losses[-1][0]) + 1, float(losses[-1][1])) if losses else (0, None)
                self._seen = written, (step, loss)
        except (OSError, ValueError, KeyError):
            pass  # not there yet, or half written: seen next time
        return self._seen[1]
