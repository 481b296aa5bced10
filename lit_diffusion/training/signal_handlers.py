"""Signals that end a run: SIGINT, SIGTERM and SIGUSR1, SLURM's warning."""

import signal
from types import FrameType

from lightning.pytorch import Trainer

from lit_diffusion.callbacks.checkpoints import Checkpoints
from lit_diffusion.callbacks.lookup import find_callback
from lit_diffusion.runs.notice import is_first_process
from lit_diffusion.runs.signals import StopRequest, requeue
from lit_diffusion.training.lightning_internals import SignalConnectorBase, connect_signals, signal_connector_of


class Signals(StopRequest, SignalConnectorBase):
    """What a run does when a signal asks it to end.

    Within a step, and between two (`in_step`), it finishes a step, at whose end all ranks agree and save. At any other
    time, such as during validation, sampling or scoring, it ends at once: the last step has been saved before. A second
    Ctrl-C always ends it at once.
    """

    def __init__(self, trainer: Trainer):
        SignalConnectorBase.__init__(self, trainer)
        self._ending = False

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Replaces Lightning's connector, which reacts between batches only and saves files besides our checkpoints."""
        signals = cls(trainer)
        connect_signals(trainer, signals)
        if checkpoints := find_callback(trainer, Checkpoints):
            checkpoints.signals = signals

    def register_signal_handlers(self) -> None:
        """Handles signals from now on until `teardown`."""
        self.received, self._ending = 0, False
        for signum in (signal.SIGINT, signal.SIGTERM, self._warning()):
            self.handle(signum, self._receive)

    def end(self) -> None:
        """Raises Interrupted; after SLURM's warning the job is requeued first."""
        self._ending = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # another Ctrl-C now would print a traceback
        if self.received == self._warning() and self.slurm is not None and is_first_process():
            requeue()
        super().end()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        first = not self.received
        if self.received != self._warning():  # which asks for more than an end
            self.received = signum
        if first and self.trainer.strategy.launcher is not None:
            self.trainer.strategy.launcher.kill(signum)  # the other ranks, if this process has started them
        insists = not first and signum == signal.SIGINT and is_first_process()
        if not self._ending and (insists or not self.in_step):
            self.end()

    def _warning(self) -> int:
        return (self.slurm and self.slurm.requeue_signal) or signal.SIGUSR1


def signals_of(trainer: Trainer) -> Signals | None:
    """The trainer's Signals; None if the trainer has Lightning's own connector."""
    signals = signal_connector_of(trainer)
    return signals if isinstance(signals, Signals) else None
