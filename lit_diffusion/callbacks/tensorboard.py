"""TensorBoard: curves, pictures and settings of a run, whose event files a resumed run continues."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from lit_diffusion.callbacks.lookup import find_callback
from lit_diffusion.callbacks.run_summary import RunSummary
from lit_diffusion.runs.run_folder import TENSORBOARD, event_files

KEY = "tensorboard_files"
COMPARED = ("val/loss", "train/loss", "fid", "bits_per_dim/test")  # by TensorBoard's table of settings


class TensorBoard(TensorBoardLogger):
    """Lightning's TensorBoardLogger with pictures and settings, in `tensorboard/` in the folder of the run.

    save_dir: the folder of the run, which sets it. prefix: of the names of metrics. flush_secs: how often events reach
    the disk.
    """

    def __init__(self, save_dir: str = "", prefix: str = "", flush_secs: int = 30):
        super().__init__(save_dir, TENSORBOARD, version="", prefix=prefix, flush_secs=flush_secs)

    @rank_zero_only
    def log_image(self, key: str, images: list[Image.Image], step: int) -> None:
        """Adds pictures, as W&B's logger does."""
        for image in images:
            self.experiment.add_image(key, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, metrics: Any = None, step: int | None = None) -> None:
        """Adds settings by dotted key: as YAML on the page of texts, and to the table that compares runs."""
        from torch.utils.tensorboard.summary import hparams  # two seconds

        settings = dict(params if isinstance(params, dict) else vars(params))
        lines = yaml.safe_dump(settings, sort_keys=False, width=10_000).splitlines()
        self.experiment.add_text("settings", "\n".join(f"    {line}" for line in lines), step)  # indented: as it is
        plain = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in settings.items()}
        for summary in hparams(plain, dict.fromkeys(metrics or COMPARED, 0)):
            self.experiment.file_writer.add_summary(summary, step)

    @rank_zero_only
    def save(self) -> None:
        """Writes what has been logged so far to the disk. The settings are in config.yaml."""
        self.experiment.flush()


class EventFiles(Callback):
    """Remembers in every checkpoint how far TensorBoard's files went; a resumed run cuts what came after it.

    What was logged after the checkpoint is logged again, so that each step is there once, as in metrics.csv.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}  # also while a run goes on without TensorBoard

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        summary = find_callback(trainer, RunSummary)
        for logger in _loggers(trainer):
            logger.log_hyperparams(summary.settings if summary else {}, step=trainer.global_step)

    @rank_zero_only
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in _loggers(trainer):
            logger.save()
            self._sizes = {path.name: path.stat().st_size for path in event_files(Path(logger.log_dir))}
        checkpoint[KEY] = self._sizes

    @rank_zero_only
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit":
            return
        self._sizes = checkpoint.get(KEY, {})
        for path in [path for logger in _loggers(trainer) for path in event_files(Path(logger.log_dir))]:
            if path.name not in self._sizes:
                path.unlink()
            elif path.stat().st_size > self._sizes[path.name]:
                with path.open("r+b") as file:
                    file.truncate(self._sizes[path.name])


def _loggers(trainer: Trainer) -> list[TensorBoard]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoard)]
