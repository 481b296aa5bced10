"""Weights & Biases: where its files go, and whether it can be used online."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import wandb
from jsonargparse import Namespace

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.notice import notice

SECONDS = 5.0  # timeout for the server


def agent() -> bool:
    """Whether the agent of a W&B sweep started this process; the server then waits for its scores."""
    return "WANDB_SWEEP_ID" in os.environ


def unreachable() -> str | None:
    """The address of the W&B server if it does not answer within seconds; None if it does, or if a proxy might."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")):
        return None
    address = os.environ.get("WANDB_BASE_URL") or str(wandb.Settings().base_url)
    parts = urlsplit(address)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), timeout=SECONDS).close()
    except (OSError, ValueError):
        return address
    return None


def check_account() -> None:
    """Raises ConfigError if no account is set up; prompts for nothing."""
    try:
        known = wandb.login(prompt=False)
    except wandb.errors.UsageError:
        known = False
    if not known:
        raise ConfigError(
            "W&B is online but no account is set up; run `wandb login`, or use --trainer.logger.offline=true, or "
            "--trainer.logger=false for CSV only",
            key="trainer.logger",
        )


def prepare(settings: Namespace, folder: Path) -> None:
    """Points a W&B logger, by its settings, to the folder of a run; offline if W&B cannot be reached.

    A run resumed in its folder continues the same W&B run. Raises ConfigError like `check_account`.
    """
    settings.offline = settings.offline and not agent()
    if not settings.offline and os.environ.get("WANDB_MODE", "online") == "online":
        if address := unreachable():
            settings.offline = True
            notice(f"W&B does not answer at {address}; logging offline; upload with `wandb sync {folder}/wandb/*`")
        else:
            check_account()
    settings.id = settings.id or known_id(folder)
    settings.save_dir = str(folder)
    settings.name = settings.name or folder.name


def known_id(folder: Path) -> str | None:
    """The W&B id of the run in this folder, from W&B's own files there; None for a new run."""
    files = sorted((folder / "wandb").glob("*run-*-*"), key=lambda path: path.name.split("run-")[1])
    return files[-1].name.rpartition("-")[2] if files else None
