"""Signals that end a run: SIGINT, SIGTERM and, as SLURM warns, SIGUSR1."""

import signal
from types import FrameType

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from lit_diffusion.callbacks.checkpoints import checkpoints_of
from lit_diffusion.runs.notice import is_first_process
from lit_diffusion.runs.signals import StopRequest, requeue


class Signals(StopRequest, _SignalConnector):
    """What a run does when it is asked to end.

    In the middle of a step (`in_step`) it goes on to the end of this step, where all ranks agree on it and save. At any
    other time, as while it validates, samples or scores, it ends at once: the last step has been saved before. A
    second Ctrl-C always ends it at once.
    """

    def __init__(self, trainer: Trainer):
        _SignalConnector.__init__(self, trainer)
        self._ending = False

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Takes the place of Lightning's, which looks between batches only, and saves beside our checkpoints."""
        signals = trainer._signal_connector = cls(trainer)
        if checkpoints := checkpoints_of(trainer):
            checkpoints.signals = signals

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
        if self.received == self._warning() and self._slurm is not None and is_first_process():
            requeue()
        super().end()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        first = not self.received
        if self.received != self._warning():  # which asks for more than an end
            self.received = signum
        if first and self.trainer.strategy.launcher is not None:
            self.trainer.strategy.launcher.kill(signum)  # the other ranks, where this one has started them
        insists = not first and signum == signal.SIGINT and is_first_process()
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
