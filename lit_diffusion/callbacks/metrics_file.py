"""metrics.csv: every measurement once, also of a run that was interrupted."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

KEY = "metrics_rows"


class MetricsFile(Callback):
    """Where a run goes on in its own folder, keeps of its metrics.csv what came before the checkpoint, and no more:
    the rest is measured again. Lightning's logger alone would delete all of it.
    """

    def __init__(self, folder: Path):
        self._before = rows_of(folder)  # read now: the logger deletes the file when it starts

    @rank_zero_only
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in csv_loggers(trainer):
            logger.save()
            checkpoint[KEY] = len(rows_of(Path(logger.log_dir)))

    @rank_zero_only
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        written, step = checkpoint.get(KEY, 0), checkpoint["global_step"]
        # what a step logs itself is written after the checkpoint of that step
        kept = [row for index, row in enumerate(self._before) if index < written or int(row["step"]) < step]
        for logger in csv_loggers(trainer) if kept else ():
            logger.experiment.metrics = kept
            logger.save()


def csv_loggers(trainer: Trainer) -> list[CSVLogger]:
    """The trainer's loggers that write metrics.csv."""
    return [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of the folder's metrics.csv, without empty cells; none where there is no such file."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
