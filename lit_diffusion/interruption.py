"""Signals that end a run: SIGINT, SIGTERM and, as SLURM warns, SIGUSR1."""

import os
import signal
import subprocess
import sys
from types import FrameType

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from lightning.pytorch.utilities import rank_zero_only


class Interrupted(SystemExit):
    """The end of a process that a signal has asked for: its exit status is 128 + signum, as the shell counts.

    The status of other ranks than the first is 0: Lightning would kill the first on any other.
    """

    def __init__(self, signum: int, note: str = ""):
        super().__init__(128 + signum if rank_zero_only.rank == 0 else 0)
        self.message = f"stopped by {signal.Signals(signum).name}{note and '; '}{note}"


class Signals(_SignalConnector):
    """What a run does when it is asked to end.

    In the middle of a step (`in_step`) it goes on to the end of this step, where all ranks agree on it and save. At any
    other time, as while it validates, samples or scores, it ends at once: the last step has been saved before. A
    second Ctrl-C always ends it at once.

    received: the number of the signal, or 0. note: what the message says after the name of the signal.
    """

    def __init__(self, trainer: Trainer):
        super().__init__(trainer)
        self.received = 0
        self.in_step = False
        self.note = ""
        self._ending = False

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Takes the place of Lightning's, which looks between batches only, and saves beside our checkpoints."""
        trainer._signal_connector = cls(trainer)

    def register_signal_handlers(self) -> None:
        """From now on until `teardown`."""
        self.received, self._ending = 0, False
        for signum in (signal.SIGINT, signal.SIGTERM, self._warning()):
            self._original_handlers[signum] = signal.getsignal(signum)
            self._register_signal(signum, self._handle)

    def end(self) -> None:
        """Raises Interrupted; on SLURM, which has warned of the end, the job is queued again."""
        self._ending = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatience at the end would leave a traceback
        if self.received == self._warning() and self._slurm is not None and rank_zero_only.rank == 0:
            requeue()
        raise Interrupted(self.received, self.note)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        first = not self.received
        if self.received != self._warning():  # which asks for more than an end
            self.received = signum
        if first and self.trainer.strategy.launcher is not None:
            self.trainer.strategy.launcher.kill(signum)  # the other ranks, where this one has started them
        insists = not first and signum == signal.SIGINT and rank_zero_only.rank == 0
        if not self._ending and (insists or not self.in_step):
            self.end()

    @property
    def _slurm(self) -> SLURMEnvironment | None:
        environment = self.trainer._accelerator_connector.cluster_environment
        return environment if isinstance(environment, SLURMEnvironment) and environment.auto_requeue else None

    def _warning(self) -> int:
        return (self._slurm and self._slurm.requeue_signal) or signal.SIGUSR1


def signals_of(trainer: Trainer) -> Signals | None:
    """The trainer's Signals; None in a trainer of Lightning's own."""
    signals = trainer._signal_connector
    return signals if isinstance(signals, Signals) else None


def requeue() -> None:
    """Asks SLURM to run this job again from its start."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the job could not be queued again: {error}", file=sys.stderr)
