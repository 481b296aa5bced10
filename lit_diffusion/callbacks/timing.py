"""Where the time goes: seconds of training, validation and sampling, and images per second of training alone."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_diffusion.callbacks.lookup import log_interval_of
from lit_diffusion.modules.generative import Batch, split_labels


class Timing(Callback):
    """Logs `images_per_second` over all devices at every logging step; validation and sampling count apart.

    seconds: wall-clock time by activity, as `{"training": ..., "validation": ..., "sampling": ...}`.
    """

    def __init__(self) -> None:
        self.other: dict[str, float] = defaultdict(float)
        self.images_per_second = 0.0
        self._images = 0
        self._begin = self._window = 0.0
        self._before: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        now = {"training": self._trained(), **self.other}
        return {name: now.get(name, 0.0) + self._before.get(name, 0.0) for name in {**self._before, **now}}

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far, to which those after a resume are added."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["seconds"]

    @contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Counts the time inside the context as `activity` and not as training."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.other[activity] += time.perf_counter() - begin

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.other.clear()  # a sanity check before is not part of the run
        self._begin = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._images += len(split_labels(batch)[0]) * trainer.world_size
        if trainer.global_step % log_interval_of(trainer) == 0:
            now = self._trained()
            self.images_per_second = self._images / max(now - self._window, 1e-9)
            self._images, self._window = 0, now
            pl_module.log("images_per_second", self.images_per_second)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation = self.measure("validation")
        self._validation.__enter__()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation.__exit__(None, None, None)

    def _trained(self) -> float:
        return time.perf_counter() - self._begin - sum(self.other.values()) if self._begin else 0.0
