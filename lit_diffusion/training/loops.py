"""The loops of a fit, with one order of events at the end of a step, and so one point to resume from.

A step takes a window of `trainer.accumulate_grad_batches` batches, and ends when weights, average and schedule are
updated; where an epoch ends does not matter. Then it is saved if that is due; then everything due at this
step is evaluated, validation last. So a checkpoint never holds half an evaluation, nothing is lost whatever ends it,
and a run resumed from the checkpoint begins with those evaluations.
"""

import math
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from lit_diffusion.callbacks.after_step import AfterStep
from lit_diffusion.callbacks.checkpoints import Checkpoints, is_over
from lit_diffusion.callbacks.lookup import callbacks_of, find_callback
from lit_diffusion.errors import ConfigError
from lit_diffusion.training.lightning_internals import DataFetcher, EpochLoopBase, FitLoopBase
from lit_diffusion.training.signal_handlers import signals_of


class EpochLoop(EpochLoopBase):
    """Steps, each followed by what is saved and evaluated.

    evaluated: whether everything due at the last step has been evaluated; part of every checkpoint.
    """

    evaluated = True

    def advance(self, data_fetcher: DataFetcher) -> None:
        self._in_step(True)
        self.evaluated = False
        try:
            super().advance(data_fetcher)
        except RuntimeError:  # of a collective, if a signal has ended another rank while it evaluated
            signals = signals_of(self.trainer)
            if signals and signals.received and self.trainer.world_size > 1:
                signals.end()
            raise

    def on_advance_end(self, data_fetcher: DataFetcher) -> None:
        self._end_step(data_fetcher, save=True)

    def on_run_start(self, data_fetcher: DataFetcher) -> None:
        """In a resumed run, first evaluates what was due at the step of the checkpoint."""
        super().on_run_start(data_fetcher)
        if self.restarting:
            self.end_restart()
            if not self.evaluated:
                self._end_step(data_fetcher, save=False)

    def _end_step(self, data_fetcher: DataFetcher, save: bool) -> None:
        trainer, checkpoints = self.trainer, find_callback(self.trainer, Checkpoints)
        is_validation_due = self.is_validation_due(data_fetcher)  # also notes what becomes due within a window
        if self.is_accumulating():
            super().on_advance_end(data_fetcher)  # writes what was logged
            return
        due = [c for c in callbacks_of(trainer) if isinstance(c, AfterStep) and c.due(trainer)]
        if save and checkpoints:
            checkpoints.end_step(trainer, is_evaluated=bool(due) or is_validation_due)
        self._in_step(not (due or is_validation_due))
        for callback in due:
            callback.after_step(trainer, trainer.lightning_module)
        super().on_advance_end(data_fetcher)  # validates
        self.evaluated = True
        if checkpoints and is_over(trainer):
            checkpoints.save(trainer)  # before the final scores
        self._in_step(not is_over(trainer))

    @property
    def done(self) -> bool:
        """Whether to leave the epoch; a request to stop waits for the end of the step."""
        return super().done and (not self.is_accumulating() or self.is_epoch_over())

    def _in_step(self, value: bool) -> None:
        if signals := signals_of(self.trainer):
            signals.in_step = value

    def on_save_checkpoint(self) -> dict[str, Any]:
        state = {"evaluated": self.evaluated, "validation_due": self.validation_due}
        return {**super().on_save_checkpoint(), **state}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        super().on_load_checkpoint(state_dict)
        self.evaluated = state_dict.get("evaluated", True)
        self.validation_due = state_dict.get("validation_due", False) and not self.evaluated


class FitLoop(FitLoopBase):
    """A run resumed from a checkpoint of its last step starts and ends training without a step, and so gets its scores;
    Lightning skips such a fit altogether.
    """

    epoch_loop: EpochLoop

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Replaces the trainer's own loops. Raises ConfigError for windows that change their length."""
        if find_callback(trainer, GradientAccumulationScheduler):
            raise ConfigError(
                "expected as many batches in every step, so that a run can be resumed, got "
                "GradientAccumulationScheduler; set trainer.accumulate_grad_batches instead",
                key="trainer.callbacks",
            )
        theirs = trainer.fit_loop
        loop = cls(trainer, min_epochs=theirs.min_epochs, max_epochs=theirs.max_epochs)
        steps = theirs.epoch_loop
        loop.epoch_loop, trainer.fit_loop = EpochLoop(trainer, steps.min_steps, steps.max_steps), loop

    def on_run_start(self) -> None:
        """A run of a number of epochs ends with their last whole step. Raises ConfigError if there is none."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            self.trainer.accumulate_grad_batches = 1  # a trial of a few batches takes as many steps
        steps, window = self.epoch_loop, self.trainer.accumulate_grad_batches
        steps.begin_windows()
        if window > 1 and self.max_epochs not in (None, -1) and math.isfinite(self.max_batches):
            epochs = self.max_epochs - self.trainer.current_epoch
            batches = int(epochs * self.max_batches) - steps.batch_progress.current.ready
            last = steps.global_step + max(0, batches) // window
            if not last:
                raise ConfigError(
                    f"expected at most {batches}, the number of batches of the whole run; got {window}",
                    key="trainer.accumulate_grad_batches",
                )
            steps.max_steps = last if steps.max_steps == -1 else min(last, steps.max_steps)
        super().on_run_start()

    @property
    def done(self) -> bool:
        """Whether nothing is left to train or to evaluate."""
        steps = self.epoch_loop
        return super().done and not steps.is_accumulating() and not (self.restarting and not steps.evaluated)

    @property
    def skip(self) -> bool:
        """Whether there is nothing to do: no data, or no steps."""
        return super().skip and not (self.done and self.trainer.global_step)
