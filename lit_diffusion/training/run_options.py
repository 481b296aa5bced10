"""The settings that every run has besides model, data and trainer, and the values that are refused."""

from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from lit_diffusion.callbacks import (
    EMA,
    BitsPerDim,
    Checkpoints,
    Divergence,
    GenerationMetrics,
    ParzenWindow,
    Prediction,
    SampleGrids,
    Speed,
)
from lit_diffusion.errors import ConfigError

COMMANDS = ("fit", "validate", "test", "predict")
CALLBACKS = {
    "speed": Speed,  # first: it changes the layout of weights before EMA copies them
    "divergence": Divergence,
    "ema": EMA,
    "grids": SampleGrids,
    "scores": GenerationMetrics,
    "bits_per_dim": BitsPerDim,
    "parzen": ParzenWindow,
    "checkpoint": Checkpoints,
}
CALLBACK_KEYS = {callback.__name__: key for key, callback in CALLBACKS.items()}
TRAINER_DEFAULTS = {
    "enable_model_summary": False,
    "enable_checkpointing": False,  # our callback `checkpoint` does that
    "check_val_every_n_epoch": None,
    "val_check_interval": 1000,
}
# What `trainer.fast_dev_run` leaves out of a fit besides steps and batches: scores, all pictures but two, logs.
TRIAL = {
    "scores.num_samples": 0,
    "scores.every_n_steps": 0,
    "bits_per_dim.splits": [],
    "parzen.num_samples": 0,
    "grids.every_n_steps": 1,
    "grids.num_images": 2,
    "trainer.logger": False,
}
NEVER_ZERO = ("val_check_interval", "accumulate_grad_batches", "log_every_n_steps")


def add_arguments(parser: LightningArgumentParser) -> None:
    """Adds the keys of a run and of its callbacks, with their defaults."""
    parser.add_argument("--run.dir", type=str, default="runs", help="Folder in which run folders are created.")
    parser.add_argument(
        "--run.name",
        type=str | None,
        default=None,
        help="Name of this run's folder (default: the names of the configuration files and the time).",
    )
    for key, callback in CALLBACKS.items():
        parser.add_lightning_class_args(callback, key)
    parser.add_lightning_class_args(Prediction, "prediction", subclass_mode=True, required=False)
    parser.set_defaults({"prediction": {"class_path": "Samples"}})


def prepare_trial(command: str, settings: Namespace) -> None:
    """Makes the fit of `trainer.fast_dev_run` a trial: a step, a validation, two samples. Raises ConfigError for any
    other command, and for a checkpoint, whose training would not go on.
    """
    key = "trainer.fast_dev_run"
    if command != "fit":
        raise ConfigError(f"expected false in {command}; use fewer samples, such as --scores.num_samples=10", key=key)
    if settings.ckpt_path:
        raise ConfigError("expected no checkpoint, as a trial starts at step 0; omit ckpt_path", key=key)
    for key, value in TRIAL.items():
        settings[key] = value


def check_settings(settings: Namespace) -> None:
    """Raises ConfigError for values that the parser accepts and no run can use."""
    name = settings.run.name
    if name and (Path(name).name != name or name == ".."):
        raise ConfigError(f"expected a name, got the path {name}; put the folder in run.dir", key="run.name")
    for key in (*CALLBACKS, "prediction"):
        if settings[key] is None:
            raise ConfigError("null is not allowed here; omit the key or set its fields", key=key)
    for key in NEVER_ZERO:
        if settings.trainer[key] == 0:
            raise ConfigError("expected 1 or more batches, got 0", key=f"trainer.{key}")
