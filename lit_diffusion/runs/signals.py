"""A run that a signal asks to end: SIGINT, SIGTERM and, as SLURM warns, SIGUSR1."""

import os
import signal
import subprocess
import sys

from lit_diffusion.runs.notice import is_first_process


class Interrupted(SystemExit):
    """The end of a process that a signal has asked for: its exit status is 128 + signum, as the shell counts.

    The status of other ranks than the first is 0: Lightning would kill the first on any other.
    """

    def __init__(self, signum: int, note: str = ""):
        super().__init__(128 + signum if is_first_process() else 0)
        self.message = f"stopped by {signal.Signals(signum).name}{note and '; '}{note}"


class StopRequest:
    """What a process has been asked, and what it is doing.

    received: the number of the signal, or 0. in_step: whether a training step is being made, which ends before the
    process does. note: what the message says after the name of the signal.
    """

    received = 0
    in_step = False
    note = ""

    def end(self) -> None:
        """Raises Interrupted."""
        raise Interrupted(self.received, self.note)


def requeue() -> None:
    """Asks SLURM to run this job again from its start."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the job could not be queued again: {error}", file=sys.stderr)
