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


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are never seen half written, and that hold tensors and plain values only, never code."""

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Takes the place of Lightning's, unless the user has chosen another."""
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


def one_line_where_damaged(trainer: Trainer) -> None:
    """Whatever Lightning finds wrong with a whole file while it takes up a run from it is said in one line."""
    connector = trainer._checkpoint_connector
    for name in ("_restore_modules_and_callbacks", "restore_training_state"):
        setattr(connector, name, said_in_one_line(getattr(connector, name)))


def said_in_one_line(restore: Callable[..., None]) -> Callable[..., None]:
    """The function, with its errors as ConfigError."""

    def restored(*arguments: Any, **options: Any) -> None:
        try:
            restore(*arguments, **options)
        except (ConfigError, OSError):
            raise
        except Exception as error:  # of a part of the file that is not what it should be
            raise ConfigError(
                f"a part of the checkpoint is not of this run ({first_words(error)}); write another one", key=KEY
            ) from error

    return restored
