"""Weights & Biases: where its files go, and whether it can be used online."""

import os
from pathlib import Path
from typing import Any

import wandb
from jsonargparse import Namespace

from lit_diffusion.errors import ConfigError


def agent() -> bool:
    """Whether an agent of a W&B sweep has started this process: its scores are waited for on the server."""
    return "WANDB_SWEEP_ID" in os.environ


def check_account(offline: bool) -> None:
    """Raises ConfigError where W&B is to be online and no account is known; asks nothing and waits for nobody."""
    if offline or os.environ.get("WANDB_MODE", "online") != "online":
        return
    try:
        known = wandb.login(prompt=False)
    except wandb.errors.UsageError:
        known = False
    if not known:
        raise ConfigError(
            "W&B is online here and no account is set up; run `wandb login`, or write --trainer.logger.offline=true, "
            "or --trainer.logger=false for CSV alone",
            key="trainer.logger",
        )


def prepare(loggers: Any, folder: Path) -> None:
    """Points the W&B loggers of a configuration to the folder of a run. Raises ConfigError as `check_account`."""
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if isinstance(logger, Namespace) and logger.class_path.endswith("WandbLogger"):
            logger.init_args.offline = logger.init_args.offline and not agent()
            check_account(logger.init_args.offline)
            logger.init_args.save_dir = str(folder)
            logger.init_args.name = logger.init_args.name or folder.name
