"""metrics.csv: every measurement exactly once, even if the run was interrupted at any moment."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.runs.atomic_files import written_whole

KEY = "metrics_rows"
FLUSH_EVERY = 100  # steps


class MetricsLogger(Logger):
    """Writes metrics.csv into the folder of the run: appends to what it finds, and never leaves half a file."""

    def __init__(self, folder: Path):
        super().__init__()
        self.path = folder / "metrics.csv"
        self._rows: list[dict[str, Any]] = []  # not yet written
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        """None needed: a run has one file."""
        return ""

    @property
    def version(self) -> str:
        """None needed."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder of the run."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: they are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a row, written every FLUSH_EVERY steps and by `save`."""
        step = len(self._rows) if step is None else step
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self._rows.append({**values, "step": step})
        if (step + 1) % FLUSH_EVERY == 0:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Writes the rows so far."""
        if not self._rows:
            return
        columns = sorted({*self._columns, *(name for row in self._rows for name in row)})
        if columns != self._columns:
            self._rewrite(columns, read_rows(self.path))
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, columns).writerows(self._rows)
        self._rows = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is left."""
        self.save()

    def keep(self, count: int) -> None:
        """Keeps the first `count` rows of the file; what was measured after them is measured again."""
        rows = read_rows(self.path)[:count]
        self._rewrite(sorted(set().union(*rows)), rows)

    def _rewrite(self, columns: list[str], rows: list[dict[str, Any]]) -> None:
        self._columns = columns
        with written_whole(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


class MetricsFile(Callback):
    """Remembers in every checkpoint how many rows of metrics.csv came before it."""

    @rank_zero_only
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in metrics_loggers(trainer):
            logger.save()
            checkpoint[KEY] = len(read_rows(logger.path))

    @rank_zero_only
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in metrics_loggers(trainer):
            if logger.path.exists():  # else the run has a new folder
                logger.keep(checkpoint.get(KEY, 0))


def metrics_loggers(trainer: Trainer) -> list[MetricsLogger]:
    """The trainer's loggers that write metrics.csv."""
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsLogger)]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.csv, without empty cells; none if the file does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
