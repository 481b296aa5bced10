"""How a trainer writes and reads checkpoint files: whole, without code, and with one line for a damaged part."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer

from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.runs.atomic_files import save, written_whole
from lit_diffusion.runs.checkpoint_files import KEY
from lit_diffusion.training.lightning_internals import wrap_restoring


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are never visible half written, and that hold tensors and plain values only, never code."""

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Replaces Lightning's, unless the user has chosen another."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = cls()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with written_whole(Path(path)) as temporary:
            save(checkpoint, temporary)

    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return checkpoint


def explain_damage(trainer: Trainer) -> None:
    """Whatever Lightning finds wrong with a file's content while resuming from it becomes a ConfigError."""
    wrap_restoring(trainer, with_config_errors)


def with_config_errors(restore: Callable[..., None]) -> Callable[..., None]:
    """The function, whose errors become ConfigErrors."""

    def restored(*arguments: Any, **options: Any) -> None:
        try:
            restore(*arguments, **options)
        except (ConfigError, OSError):
            raise
        except Exception as error:  # whatever a wrong part of the file leads to
            raise ConfigError(
                f"the checkpoint does not fit this run ({first_words(error)}); use another one", key=KEY
            ) from error

    return restored
