"""Lightning's loop of a fit, but for a run that was interrupted between its last step and its scores."""

from lightning.pytorch import Trainer
from lightning.pytorch.loops.fit_loop import _FitLoop


class FitLoop(_FitLoop):
    """Where a checkpoint of the last step is resumed, training starts and ends without a step, and so the run gets its
    scores; Lightning passes over it.
    """

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Takes the place of the trainer's own."""
        theirs = trainer.fit_loop
        loop = cls(trainer, min_epochs=theirs.min_epochs, max_epochs=theirs.max_epochs)
        loop.epoch_loop, trainer.fit_loop = theirs.epoch_loop, loop

    @property
    def skip(self) -> bool:
        """Whether there is nothing to do: no data, or no steps."""
        return super().skip and not (self.done and self.trainer.global_step)
