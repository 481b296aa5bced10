"""Lightning's loops of a fit, with one order of things at the end of a step, and so one place to go on from.

A step ends when weights, average and schedule are updated. Then it is saved, where that is due; then what is evaluated
at this step is evaluated, validation last. So a checkpoint never holds half an evaluation, whatever ends it loses
nothing, and a run that goes on from the checkpoint begins with those evaluations.
"""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from lit_diffusion.callbacks.after_step import AfterStep
from lit_diffusion.callbacks.checkpoints import checkpoints_of, is_over
from lit_diffusion.training.signal_handlers import signals_of


class EpochLoop(_TrainingEpochLoop):
    """Steps, and after each step what is saved and evaluated.

    evaluated: whether all that is due at the last step has been evaluated; part of every checkpoint.
    """

    evaluated = True

    def advance(self, data_fetcher: _DataFetcher) -> None:
        self._in_step(True)
        self.evaluated = False
        super().advance(data_fetcher)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        self._end_step(data_fetcher, save=True)

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Also, in a run that goes on, the evaluations of the step that it goes on from."""
        super().on_run_start(data_fetcher)
        if self.restarting:
            # or Lightning would take up a validation where it was, without the loss that it had
            for loop in (self.trainer.fit_loop, self, self.val_loop):
                loop._restarting = False
            if not self.evaluated:
                self._end_step(data_fetcher, save=False)

    def _end_step(self, data_fetcher: _DataFetcher, save: bool) -> None:
        trainer, checkpoints = self.trainer, checkpoints_of(self.trainer)
        if not self._should_accumulate():
            due = [c for c in trainer.callbacks if isinstance(c, AfterStep) and c.due(trainer)]
            if save and checkpoints:
                checkpoints.end_step(trainer, is_evaluated=bool(due) or self._should_check_val_fx(data_fetcher))
            self._in_step(False)
            for callback in due:
                callback.after_step(trainer, trainer.lightning_module)
        super().on_advance_end(data_fetcher)  # validates
        self.evaluated = True
        if checkpoints and is_over(trainer):
            checkpoints.save(trainer)  # before the end of training is scored

    def _in_step(self, value: bool) -> None:
        if signals := signals_of(self.trainer):
            signals.in_step = value

    def _broadcast_sigterm_tensor(self) -> None:
        """Nothing: ranks agree at the end of the step."""

    def on_save_checkpoint(self) -> dict[str, Any]:
        return {**super().on_save_checkpoint(), "evaluated": self.evaluated}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        super().on_load_checkpoint(state_dict)
        self.evaluated = state_dict.get("evaluated", True)


class FitLoop(_FitLoop):
    """Where a checkpoint of the last step is resumed, training starts and ends without a step, and so the run gets its
    scores; Lightning passes over it.
    """

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Takes the place of the trainer's own."""
        theirs = trainer.fit_loop
        loop = cls(trainer, min_epochs=theirs.min_epochs, max_epochs=theirs.max_epochs)
        steps = theirs.epoch_loop
        loop.epoch_loop, trainer.fit_loop = EpochLoop(trainer, steps.min_steps, steps.max_steps), loop

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train or to evaluate."""
        return super().done and not (self.restarting and not self.epoch_loop.evaluated)

    @property
    def skip(self) -> bool:
        """Whether there is nothing to do: no data, or no steps."""
        return super().skip and not (self.done and self.trainer.global_step)
