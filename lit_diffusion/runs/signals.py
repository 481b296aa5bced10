"""Ending a run on a signal: SIGINT, SIGTERM, and SIGUSR1, SLURM's warning."""

import os
import signal
import subprocess
import sys

from lit_diffusion.runs.notice import is_first_process


class Interrupted(SystemExit):
    """Ends the process with the status that shells use, 128 + signum.

    Other ranks than the first end with status 0: Lightning would kill the first on any other.
    """

    def __init__(self, signum: int, note: str = ""):
        super().__init__(128 + signum if is_first_process() else 0)
        self.message = f"stopped by {signal.Signals(signum).name}{note and '; '}{note}"


class StopRequest:
    """A request to end, and what has to be finished before.

    received: the number of the signal, or 0. in_step: whether a training step is running, or comes next, to be
    finished first. note: what the final message adds to the name of the signal.
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
        print(f"could not requeue the job: {error}", file=sys.stderr)
