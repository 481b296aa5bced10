"""metrics.csv: every measurement once, also of a run that was interrupted, at whatever moment."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from lit_diffusion.runs.atomic_files import written_whole

KEY = "metrics_rows"


class MetricsWriter(ExperimentWriter):
    """Lightning's, but that it goes on with the file that it finds, and never leaves it half written."""

    @property
    def path(self) -> Path:
        """metrics.csv."""
        return Path(self.metrics_file_path)

    def keep(self, count: int) -> None:
        """Of the file, the first `count` rows; what was measured after them is measured again."""
        rows = rows_of(self.path)[:count]
        self.metrics_keys = sorted(set().union(*rows))
        self._rewrite(self.metrics_keys, rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._rewrite(fieldnames, rows_of(self.path))

    def _rewrite(self, fieldnames: list[str], rows: list[dict[str, Any]]) -> None:
        with written_whole(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames)
            writer.writeheader()
            writer.writerows(rows)

    def _check_log_dir_exists(self) -> None:
        """Nothing: the parent deletes what it finds."""


class MetricsLogger(CSVLogger):
    """Writes the run's metrics.csv into the folder of the run."""

    def __init__(self, folder: Path):
        super().__init__(str(folder), name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsWriter:
        """The writer; on other ranks than the first one that writes nothing."""
        if self._experiment is None:
            self._experiment = MetricsWriter(self.log_dir)
        return self._experiment


class MetricsFile(Callback):
    """Remembers in every checkpoint how much of metrics.csv came before it."""

    @rank_zero_only
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in metrics_loggers(trainer):
            logger.save()
            checkpoint[KEY] = len(rows_of(logger.experiment.path))

    @rank_zero_only
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in metrics_loggers(trainer):
            if logger.experiment.path.exists():  # else the run has a new folder
                logger.experiment.keep(checkpoint.get(KEY, 0))


def metrics_loggers(trainer: Trainer) -> list[MetricsLogger]:
    """The trainer's loggers that write metrics.csv."""
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsLogger)]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.csv, without empty cells; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
