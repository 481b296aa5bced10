"""Progress of training and of sampling in the terminal."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TextIO, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lit_diffusion.callbacks.lookup import find_callback
from lit_diffusion.callbacks.timing import Timing


class RunProgress(ProgressBar):
    """One bar for all training steps, with loss and images/s, and one for each sampling or validation in between.

    If the output is not a terminal, a line every `plain_every` seconds replaces the bars. The log that W&B makes of the
    output has everything but the bars, ten redraws a second.
    """

    def __init__(self, plain_every: float = 10.0, file: TextIO | None = None):
        super().__init__()
        self.plain_every = plain_every
        self._console = plain_console(file or sys.stdout)
        self._bars: Progress | None = None
        self._live: Live | None = None
        self._train: TaskID | None = None
        self._enabled = True
        self._last_shown = 0.0

    def disable(self) -> None:
        """Called by the trainer on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints above the bars."""
        if self._enabled:
            self._hide(for_good=False)
            self._console.print(*args, soft_wrap=True, **kwargs)
            self._show()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._enabled and self._console.is_terminal:
            end, begin = trainer.estimated_stepping_batches, trainer.global_step
            total = end if math.isfinite(end) else None
            self._train = self._start().add_task("training", total=total, completed=begin, of=of(end), note="")

    def _start(self) -> Progress:
        screen = plain_console(cast(TextIO, Unlogged(self._console.file)))
        bars = self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}{task.fields[of]}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=screen,
        )
        self._show()
        return bars

    def _show(self) -> None:
        if self._bars:
            bars = self._bars
            self._live = Live(get_renderable=bars.get_renderable, console=bars.console, refresh_per_second=10)
            self._live.start(refresh=True)

    def _hide(self, for_good: bool) -> None:
        """for_good: their last state stays on the screen."""
        if self._live:
            self._live.transient = not for_good
            self._live.stop()
            self._live = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._enabled:
            return
        now = time.monotonic()
        last = trainer.global_step >= trainer.estimated_stepping_batches
        if now - self._last_shown < (0.5 if self._bars else self.plain_every) and not last:
            return  # reading the loss waits for the device
        self._last_shown = now
        note = f"loss {outputs['loss'].item() * trainer.accumulate_grad_batches:.4f}"
        if (timing := find_callback(trainer, Timing)) and timing.images_per_second:
            note += f"  {timing.images_per_second:,.0f} images/s"
        if self._bars and self._train is not None:
            self._bars.update(self._train, completed=trainer.global_step, note=note)
        else:
            step = f"step {trainer.global_step}{of(trainer.estimated_stepping_batches)}"
            self.print(f"{step}  {note}", highlight=False)

    @contextmanager
    def task(self, description: str, total: float, unit: str = "") -> Iterator[Callable[..., None]]:
        """A bar for `total` of something other than training steps, such as samples: yields the function that advances
        it by a number (default 1). unit: what is counted, such as "images", for the speed.
        """
        own = self._enabled and self._console.is_terminal and self._bars is None  # outside training
        if own:
            self._start()
        work = Work(self, description, total, unit)
        try:
            yield work.advance
        finally:
            work.close()
            if own:
                self._stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation = self.task("validation", int(sum(trainer.num_val_batches)))
        self._advance_validation = self._validation.__enter__()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._advance_validation()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation.__exit__(None, None, None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        self._hide(for_good=True)
        self._bars = None


def plain_console(file: TextIO) -> Console:
    """A console that prints text in a notebook, too, where rich makes HTML of it."""
    return Console(file=file, force_jupyter=False)


def of(total: float) -> str:
    """`/total`, after a number of that many; nothing if it is not known."""
    return f"/{total:.0f}" if math.isfinite(total) else ""


class Unlogged:
    """A stream without the copy that W&B makes, which replaces the `write` of the standard streams."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Calls the method of the stream's class."""
        return cast(int, type(self._stream).write(self._stream, text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Work:
    """One task besides training: a bar in a terminal, a line every `plain_every` seconds elsewhere."""

    def __init__(self, progress: RunProgress, description: str, total: float, unit: str):
        self.progress, self.description, self.total, self.unit = progress, description, total, unit
        self.done, self._begin = 0.0, time.monotonic()
        self._shown = self._begin
        self._bars = progress._bars
        self._task = self._bars.add_task(description, total=total, of=of(total), note="") if self._bars else None

    def advance(self, amount: float = 1) -> None:
        """Counts `amount` more as done."""
        self.done += amount
        now = time.monotonic()
        speed = self.done / max(now - self._begin, 1e-9)
        note = f"{speed:,.0f} {self.unit}/s" if speed >= 100 else f"{speed:.3g} {self.unit}/s"
        note = note if self.unit else ""
        if self._bars and self._task is not None:
            self._bars.update(self._task, completed=self.done, note=note)
        elif now - self._shown >= self.progress.plain_every:
            self._shown = now
            left = f"{(self.total - self.done) / speed:,.0f} s left"
            line = f"{self.description} {self.done:.0f}/{self.total:.0f}  {note}  {left}"
            self.progress.print(line, highlight=False)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bars and self._task is not None:
            self._bars.remove_task(self._task)


def task(
    trainer: Trainer, description: str, total: float, unit: str = ""
) -> AbstractContextManager[Callable[..., None]]:
    """`RunProgress.task` of the trainer's bar, if it has one."""
    bar = trainer.progress_bar_callback
    return bar.task(description, total, unit) if isinstance(bar, RunProgress) else nullcontext(lambda amount=1: None)


@rank_zero_only
def say(trainer: Trainer, message: str) -> None:
    """Prints above the progress bars."""
    bar = trainer.progress_bar_callback
    show = bar.print if isinstance(bar, RunProgress) else partial(plain_console(sys.stdout).print, soft_wrap=True)
    show(message, highlight=False, markup=False, emoji=False)
