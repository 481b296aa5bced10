"""A checkpoint of the last step, whichever it is."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer


class LastCheckpoint(Callback):
    """Writes `checkpoints/last.ckpt` at the end of training: ModelCheckpoint stops at its last multiple of steps."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")
