"""The loggers that a configuration asks for: where their files go, and the settings that W&B gets."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger, WandbLogger

from lit_diffusion.callbacks import TensorBoard
from lit_diffusion.config.keys import last_part
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import wandb_account

TENSORBOARD = ("TensorBoard", "TensorBoardLogger")  # ours, which takes the place of Lightning's
KEPT = ("prefix", "flush_secs")  # of its settings


def prepare(loggers: Any, folder: Path) -> None:
    """Points W&B and TensorBoard to the folder of a run, where a resumed run continues what it has logged.

    Raises ConfigError if TensorBoard is not installed, and if W&B is to be used online without an account.
    """
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        name = last_part(logger.class_path) if isinstance(logger, Namespace) else ""
        if name == "WandbLogger":
            wandb_account.prepare(logger.init_args, folder)
        elif name in TENSORBOARD:
            if find_spec("tensorboard") is None:
                raise ConfigError(
                    "expected the package tensorboard to be installed; run `pip install 'lit_diffusion[tensorboard]'`",
                    key="trainer.logger",
                )
            logger.class_path = f"{TensorBoard.__module__}.{TensorBoard.__name__}"
            given = {key: value for key, value in logger.get("init_args", Namespace()).items() if key in KEPT}
            logger.init_args = Namespace(**given, save_dir=str(folder))


def log_settings(loggers: Sequence[Logger], settings: Namespace) -> None:
    """Gives W&B the complete configuration; TensorBoard takes it from the summary of the run."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(settings.as_dict())
