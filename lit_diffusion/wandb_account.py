"""Whether Weights & Biases can be used online."""

import os

import wandb

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
