"""`lightning fit`, `validate` and `test`: from configuration files and a command line to a run."""

import logging
import warnings
from pathlib import Path
from traceback import walk_tb
from typing import Any

from jsonargparse import ArgumentError, Namespace, set_parsing_settings
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

import lit_diffusion.data
import lit_diffusion.diffusion
import lit_diffusion.module
import lit_diffusion.nn  # noqa: F401  imported classes can be named without their modules
from lit_diffusion import checkpoints, run_folder
from lit_diffusion.callbacks import EMA, LastCheckpoint, RunProgress, RunSummary, SampleGrids, Timing
from lit_diffusion.config_sources import COMMAND_LINE, ConfigSources
from lit_diffusion.errors import ConfigError
from lit_diffusion.files import written_whole
from lit_diffusion.parser_errors import explain
from lit_diffusion.wandb_account import check_account

COMMANDS = ("fit", "validate", "test")
CALLBACKS = {"ema": EMA, "grids": SampleGrids, "checkpoint": ModelCheckpoint}
CALLBACK_KEYS = {callback.__name__: key for key, callback in CALLBACKS.items()}


def main(arguments: list[str]) -> None:
    """Runs one of COMMANDS. Raises ConfigError, with where, for a user's mistake."""
    quiet()
    # Only with this setting does an override on the command line reach ${...} in a file.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    sources = ConfigSources(arguments)
    cli = TrainingCLI.__new__(TrainingCLI)
    try:
        cli.__init__(sources)  # type: ignore[misc]
    except ArgumentError as error:
        key, problem = explain(error)
        raise ConfigError(
            f"{sources.of(key) if key else COMMAND_LINE}: {key + ': ' if key else ''}{problem}"
        ) from error
    except OmegaConfBaseException as error:
        problem = str(error).splitlines()[0]
        raise ConfigError(f"{COMMAND_LINE} or files: {problem}; mend the ${{...}}") from error
    except Exception as error:
        raise cli.located(error) from error
    finally:
        cli.clean_up()


class TrainingCLI(LightningCLI):
    """Lightning's command line with the parts of a run that every experiment has.

    `ema`, `grids` and `checkpoint` are callbacks with keys of their own, so that the command line reaches them; CSV
    logging, progress bars, timing and summary.json are always on.
    """

    def __init__(self, sources: ConfigSources):
        self.sources = sources
        self.folder: Path | None = None
        self.owns_folder = False
        self.run_summary = RunSummary()
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+", "exit_on_error": False},
            trainer_defaults={
                "enable_model_summary": False,
                "check_val_every_n_epoch": None,
                "val_check_interval": 1000,
            },
            args=sources.arguments,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without those that we do not offer."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name in COMMANDS}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run.dir", type=str, default="runs", help="Where the folders of runs are made.")
        parser.add_argument(
            "--run.name",
            type=str | None,
            default=None,
            help="Name of this run's folder; by default those of the configuration files and the time.",
        )
        for key, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, key)
        parser.set_defaults(
            {
                "checkpoint.filename": "{step}",
                "checkpoint.every_n_train_steps": 1000,
                "checkpoint.save_top_k": -1,
                "checkpoint.save_last": True,
                "checkpoint.enable_version_counter": False,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """As the parent, without its warning: the arguments are those of sys.argv, with files resolved."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Nothing: the parent lets a checkpoint's hyper-parameters overwrite the command line."""

    @property
    def settings(self) -> Namespace:
        """The parsed configuration of the sub-command."""
        return self.config[self.subcommand]

    def before_instantiate_classes(self) -> None:
        self.fitting = self.subcommand == "fit"
        run = self.settings.run
        if run.name and Path(run.name).name != run.name:
            raise ConfigError(f"{run.name} is a path; write a name here and the folder in run.dir", key="run.name")
        named = Path(run.dir) / (run.name or run_folder.default_name(self.sources.files))
        if self.settings.ckpt_path:
            self.settings.ckpt_path = str(checkpoints.find(self.settings.ckpt_path, named))
        self.folder = named
        if self.fitting:
            self._choose_folder(named)
        self.settings.trainer.default_root_dir = str(self.folder)
        self.settings.checkpoint.dirpath = str(self.folder / "checkpoints")
        if not self.fitting:
            self.settings.trainer.logger = False  # a score is printed, not logged
        for logger in self._wandb_loggers():
            check_account(logger.init_args.offline)
            logger.init_args.save_dir = str(self.folder)
            logger.init_args.name = logger.init_args.name or self.folder.name

    def _choose_folder(self, named: Path) -> None:
        inherited = run_folder.inherited()
        if inherited is None and rank_zero_only.rank == 0:
            self.folder, self.owns_folder = run_folder.reserve(named), True
        else:
            self.folder = inherited or named  # of the other ranks, none writes
        self.settings.run.name = self.folder.name

    def _wandb_loggers(self) -> list[Namespace]:
        loggers = self.settings.trainer.logger
        loggers = loggers if isinstance(loggers, list) else [loggers]
        return [one for one in loggers if isinstance(one, Namespace) and one.class_path.endswith("WandbLogger")]

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with the callbacks and loggers that every run has."""
        given = self._get(self.config_init, "trainer")["logger"]
        loggers = given if isinstance(given, list) else [given] if given not in (None, True, False) else []
        for logger in loggers:
            # wandb warns of this argument, which Lightning always passes on
            getattr(logger, "_wandb_init", {}).pop("anonymous", None)
        if self.fitting:
            # name and version are empty: the run folder is the log folder
            kwargs["logger"] = [*loggers, CSVLogger(str(self.folder), name="", version="")]
        best = ModelCheckpoint(
            self.settings.checkpoint.dirpath, "best", monitor="val/loss", enable_version_counter=False
        )
        bar = [] if self.settings.trainer.enable_progress_bar is False else [RunProgress()]
        self.trainer_defaults["callbacks"] = [Timing(), *bar, self.run_summary, LastCheckpoint(), best]
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """All that can be found wrong before anything is written, then the complete configuration."""
        if rank_zero_only.rank != 0:
            return
        self.check()
        run_folder.check_space(self.folder, sum(p.numel() for p in self.model.parameters()))
        with written_whole(self.folder / "config.yaml") as temporary:
            temporary.write_text(self._parser("fit").dump(self.settings, skip_none=False))
        hyperparameters = self.settings.as_dict()
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(hyperparameters)

    def check(self) -> None:
        """Raises ConfigError unless data, model and checkpoint fit each other."""
        self.datamodule.prepare_data()
        self.datamodule.setup(self.subcommand)
        self.model.reverse.check(self.datamodule.image_shape, self.datamodule.num_levels)
        if self.settings.ckpt_path:
            checkpoints.check(Path(self.settings.ckpt_path), self.model)

    def before_validate(self) -> None:
        if not self.settings.ckpt_path:
            raise ConfigError("no checkpoint given; write --ckpt_path last, or best, or a file", key=checkpoints.KEY)
        self.check()

    before_test = before_validate

    def located(self, error: Exception) -> Exception:
        """The ConfigError behind an error, with where; the error itself if there is none."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ConfigError):
            cause = cause.__cause__
        if cause is None:
            if isinstance(error, MisconfigurationException):
                return ConfigError(f"{self.sources.of('trainer')}: trainer: {' '.join(str(error).split())}")
            if isinstance(error, OSError) and self.folder and str(self.folder) in str(error.filename):
                return self.located(run_folder.folder_error(error, self.folder))
            return error
        key, message = cause.key or self._key_of(cause), str(cause)
        setting, colon, rest = message.partition(": ")
        if key and colon and setting.isidentifier():
            key, message = f"{key}.{setting}", rest
        return ConfigError(f"{self.sources.of(key)}: {key}: {message}" if key else message)

    def _key_of(self, error: BaseException) -> str | None:
        """The dotted key of the object that raised an error: the innermost one that the configuration names."""
        config = self.config.as_dict()
        for name in reversed(classes_that_raised(error)):
            key = CALLBACK_KEYS.get(name) or key_of_class(config, name)
            if key:
                return key
        return None

    def clean_up(self) -> None:
        """A run that has not reached its first step leaves nothing behind."""
        if self.owns_folder:
            run_folder.release(self.folder, remove=not self.run_summary.started)


def classes_that_raised(error: BaseException) -> list[str]:
    """The classes whose methods an error went through, outermost first."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return [type(frame.f_locals["self"]).__name__ for frame in frames if "self" in frame.f_locals]


def key_of_class(config: Any, name: str, key: tuple[str, ...] = ()) -> str | None:
    """The dotted key at which a configuration names a class, without `init_args` levels and the sub-command."""
    if not isinstance(config, dict):
        return None
    if str(config.get("class_path", "")).split(".")[-1] == name:
        return ".".join(part for part in key[1:] if part != "init_args")
    return next(filter(None, (key_of_class(value, name, (*key, part)) for part, value in config.items())), None)


def quiet() -> None:
    """Lightning's notices and warnings that say nothing about a run of ours."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*Experiment logs directory .* exists and is not empty.*",
        ".*number of training batches .* is smaller than the logging interval.*",
        ".*dirpath has changed.*",  # a resumed run has a folder of its own
        ".*loading a checkpoint outside the 'fit' stage.*",  # validate and test take the average that it holds
        ".*treespec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
