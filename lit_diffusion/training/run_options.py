"""The settings that every run has besides model, data and trainer, and the values that are refused."""

from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
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
from lit_diffusion.callbacks.lookup import callbacks_of
from lit_diffusion.config import allowlist
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.config.suggestions import suggestion
from lit_diffusion.errors import ConfigError
from lit_diffusion.training.trainer_choices import as_plain, check_choices, check_classes

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
OPTIONS = ("seed_everything", "ckpt_path", "weights_only", "verbose", "return_predictions")
GROUPS = ("model", "data", "trainer", "run", "prediction", *CALLBACKS, *OPTIONS)  # of settings, in a file
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
AT_LEAST_1 = ("val_check_interval", "accumulate_grad_batches", "log_every_n_steps", "check_val_every_n_epoch")
METRICS = ["val/loss", "train/loss", "images_per_second"]  # that callbacks can watch
LARGEST_SEED = 2**32 - 1  # of NumPy's global generator


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


def settle(command: str, settings: Namespace, sources: ConfigSources) -> None:
    """Checks the settings, and sets those that follow from others. Raises ConfigError for what no run can use."""
    as_plain(settings)
    check_settings(settings)
    if settings.trainer.fast_dev_run:
        prepare_trial(command, settings)
    validate_by_epoch(settings, sources)
    check_choices(settings.trainer)
    check_classes(settings.trainer, CALLBACK_KEYS)


def prepare_trial(command: str, settings: Namespace) -> None:
    """Makes the fit of `trainer.fast_dev_run` a trial: a step, a validation, two samples. Raises ConfigError for any
    other command, and for a checkpoint, whose training would not go on.
    """
    key = "trainer.fast_dev_run"
    if command != "fit":
        fewer = "prediction" if command == "predict" else "scores"
        raise ConfigError(f"expected false in {command}; use fewer samples, such as --{fewer}.num_samples=10", key=key)
    if settings.ckpt_path:
        raise ConfigError("expected no checkpoint, as a trial starts at step 0; omit ckpt_path", key=key)
    for key, value in TRIAL.items():
        settings[key] = value


def check_settings(settings: Namespace) -> None:
    """Raises ConfigError for values that the parser accepts and no run can use."""
    name = settings.run.name
    if name and (Path(name).name != name or name == ".."):
        raise ConfigError(f"expected a name, got the path {name}; put the folder in run.dir", key="run.name")
    if settings.trainer.default_root_dir is not None:
        raise ConfigError("expected null, as a run has its folder; set run.dir instead", key="trainer.default_root_dir")
    for key in (*CALLBACKS, "prediction"):
        if settings[key] is None:
            raise ConfigError("null is not allowed here; omit the key or set its fields", key=key)
    for key in AT_LEAST_1:
        value = settings.trainer[key]
        if isinstance(value, int) and value < 1:
            raise ConfigError(f"expected 1 or more, got {value}", key=f"trainer.{key}")
    for key in ("gradient_clip_val", "limit_train_batches"):
        value = settings.trainer[key]
        if value is not None and value <= 0:
            instead = "null for no clipping" if key == "gradient_clip_val" else "null for all batches"
            raise ConfigError(f"expected a number above 0, or {instead}; got {value}", key=f"trainer.{key}")
    if "spawn" in str(settings.trainer.strategy):
        raise ConfigError(
            "expected a strategy that starts its processes from the command line, got one that spawns them; use ddp",
            key="trainer.strategy",
        )


def validate_by_epoch(settings: Namespace, sources: ConfigSources) -> None:
    """Validates at the end of every `check_val_every_n_epoch` epochs if that is set and the interval in batches comes
    from elsewhere, such as a file: Lightning refuses an interval that is longer than an epoch.
    """
    by_epoch, by_batch = "trainer.check_val_every_n_epoch", "trainer.val_check_interval"
    if settings[by_epoch] is not None and sources.setting(by_epoch) != sources.setting(by_batch):
        settings[by_batch] = 1.0
    if settings[by_epoch] is None and isinstance(settings[by_batch], float):
        got = f"got {settings[by_batch]}; add --{by_epoch}=1 for a part of an epoch"
        raise ConfigError(f"expected a number of batches, as {by_epoch} is null; {got}", key=by_batch)


def check_monitors(trainer: Trainer, model: LightningModule) -> None:
    """Raises ConfigError if a callback such as EarlyStopping watches a metric that does not exist.

    Metrics of a user's classes are not known before training.
    """
    callbacks = callbacks_of(trainer)
    if any(allowlist.is_own(type(one).__module__) for one in (model, *callbacks)):
        return
    for callback in callbacks:
        name = getattr(callback, "monitor", None) if not isinstance(callback, Checkpoints) else None
        if name is not None and name not in METRICS:
            kind = type(callback).__name__
            raise ConfigError(
                f"{kind}.monitor: expected a metric that is logged, got {name}; {suggestion(name, METRICS)}",
                key="trainer.callbacks",
            )


def check_seed(seed: bool | int) -> None:
    """Raises ConfigError for a seed that generators do not take."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"expected 0 to {LARGEST_SEED}, got {seed}", key="seed_everything")
