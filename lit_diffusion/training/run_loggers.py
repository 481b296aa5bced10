"""The loggers that a configuration asks for: whether their packages are there, and where their files go."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lit_diffusion.callbacks import TensorBoard
from lit_diffusion.config.keys import last_part
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import wandb_account

TENSORBOARD = ("TensorBoard", "TensorBoardLogger")  # ours, and Lightning's, in whose place it is put
KEPT = ("prefix", "flush_secs")  # of its settings
PACKAGES = {  # of each logger: the module, and what pip installs
    **dict.fromkeys(TENSORBOARD, ("tensorboard", "'lit_diffusion[tensorboard]'")),
    "MLFlowLogger": ("mlflow", "mlflow"),
    "CometLogger": ("comet_ml", "comet-ml"),
    "NeptuneLogger": ("neptune", "neptune"),
}


def prepare(loggers: Any, folder: Path) -> None:
    """Points the loggers of a configuration to the folder of a run, where a resumed run continues them.

    Raises ConfigError for a logger whose package is missing, and if W&B is to be used online without an account.
    """
    for logger in chosen(loggers):
        name = last_part(logger.class_path)
        module, install = PACKAGES.get(name, ("", ""))
        if module and find_spec(module) is None:
            raise ConfigError(
                f"{name} needs the package {module}, which is not installed; run `pip install {install}`",
                key="trainer.logger",
            )
        if name == "WandbLogger":
            wandb_account.prepare(logger.init_args, folder)
        elif name in TENSORBOARD:
            logger.class_path = f"{TensorBoard.__module__}.{TensorBoard.__name__}"
            given = {key: value for key, value in logger.get("init_args", Namespace()).items() if key in KEPT}
            logger.init_args = Namespace(**given, save_dir=str(folder))


def chosen(loggers: Any) -> Iterator[Namespace]:
    """Those that are classes with settings; the others are true, false, or null."""
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if isinstance(logger, Namespace):
            yield logger
