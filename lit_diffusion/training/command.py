"""`lightning fit`, `validate`, `test` and `predict`: from configuration files and a command line to a run."""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

import lit_diffusion.nn  # noqa: F401  imported classes can be named without their modules
from lit_diffusion.callbacks import (
    Evaluation,
    EventFiles,
    MetricsFile,
    MetricsLogger,
    Prediction,
    RunProgress,
    RunReport,
    RunSummary,
    SampleGrids,
    Timing,
)
from lit_diffusion.callbacks.lookup import callbacks_of
from lit_diffusion.config import allowlist
from lit_diffusion.config.keys import flatten
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.data import ImageData
from lit_diffusion.errors import ConfigError, blamed_on
from lit_diffusion.modules import GenerativeModule
from lit_diffusion.runs import checkpoint_files, run_folder
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.runs.notice import is_first_process
from lit_diffusion.runs.selection import RunChoice
from lit_diffusion.runs.wandb_account import agent
from lit_diffusion.runs.watchdog import end_with_parent
from lit_diffusion.runs.working_folder import anchor_paths
from lit_diffusion.training import checkpoint_io, run_loggers, run_options, schedule_check, settings_help
from lit_diffusion.training.bf16_mixed import Bf16Mixed
from lit_diffusion.training.error_location import ForeignError, locate
from lit_diffusion.training.lightning_internals import CLIBase, drop_unknown_wandb_options
from lit_diffusion.training.loops import FitLoop
from lit_diffusion.training.old_paths import accept_old_paths
from lit_diffusion.training.quiet import quiet
from lit_diffusion.training.resume_check import check_resume
from lit_diffusion.training.resuming import keep_settings
from lit_diffusion.training.signal_handlers import Signals
from lit_diffusion.training.within_memory import WithinMemory


def main(arguments: list[str]) -> None:
    """Runs one of run_options.COMMANDS, or shows its help. Raises ConfigError, with file and key, for a mistake."""
    set_up()
    if not settings_help.show(arguments):
        with end_with_parent():
            TrainingCLI(ConfigSources(arguments))


def check(arguments: list[str]) -> dict[str, Any]:
    """Builds and checks what `main` would, but runs and writes nothing. Returns the settings by dotted key.

    Raises ConfigError, with file and key, for a user's mistake.
    """
    set_up()
    return TrainingCLI(ConfigSources(arguments), only_check=True).run_summary.settings


def set_up() -> None:
    """What must precede parsing."""
    quiet()
    accept_old_paths()
    # Only with this setting does an override on the command line reach ${...} in a file.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)


class TrainingCLI(CLIBase):
    """Lightning's command line with the parts that every run has.

    `ema`, `grids`, `scores`, `bits_per_dim`, `prediction` and `checkpoint` are callbacks with keys of their own, so
    that the command line reaches them; CSV logging, progress bars, timing and summary.json are always on.
    """

    def __init__(self, sources: ConfigSources, only_check: bool = False):
        self.sources, self.only_check, self.building = sources, only_check, False
        self._run: RunChoice | None = None
        self.run_summary = RunSummary()
        self.subcommand: str = sources.arguments[0]
        allowlist.allow_only(sources.allowed)
        sources.check_complete(run_options.GROUPS)
        try:
            super().__init__(
                GenerativeModule,
                ImageData,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=None,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                seed_everything_default=0,
                parser_kwargs={"parser_mode": "omegaconf+", "exit_on_error": False, "allow_abbrev": False},
                trainer_defaults={**run_options.TRAINER_DEFAULTS},
                args=sources.arguments,
            )
        except Exception as error:
            config = self.settings.as_dict() if hasattr(self, "config") else {}
            folder = self._run and self._run.folder
            raise locate(error, sources, config, folder, self.known_keys(), self.building) from error
        finally:
            if self._run:
                self._run.release(self.run_summary.started)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # called on instances only
        """The one that is called, and `fit`, which writes config.yaml: a parser takes a while to build."""
        return {name: skipped for name, skipped in CLIBase.subcommands().items() if name in ("fit", self.subcommand)}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        run_options.add_arguments(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses like the parent, but without its warning: these are the arguments of sys.argv, with files resolved."""
        self.building = True  # errors from here on are due to settings
        self.config = parser.parse_args(args)
        run_options.check_seed(self.settings.seed_everything)

    def instantiate_classes(self) -> None:
        with WithinMemory():
            super().instantiate_classes()
        self.building = False

    @property
    def run(self) -> RunChoice:
        """The run that the command works on; chosen before classes are instantiated."""
        if self._run is None:
            raise RuntimeError("no run has been chosen yet")
        return self._run

    @property
    def settings(self) -> Namespace:
        """The parsed configuration of the sub-command."""
        return self.config[self.subcommand]

    def before_instantiate_classes(self) -> None:
        self.fitting = self.subcommand == "fit"
        run_options.settle(self.subcommand, self.settings, self.sources)
        trial = bool(self.settings.trainer.fast_dev_run)
        self._run = RunChoice(self.sources, self.settings, self.fitting and not self.only_check, trial)
        self.settings.weights_only = True  # a checkpoint must not decide what is run
        self.run.take()
        self.saved = self.settings.clone()  # the settings of a new run
        self.saved.ckpt_path = None
        for own in ("verbose", "return_predictions"):  # options of `test` and of `predict` alone
            self.saved.pop(own, None)
        self.run_summary.working_folder = anchor_paths(self.settings, self.saved, self.sources)
        self.settings.trainer.default_root_dir = str(self.run.folder)
        if not self.fitting and not (agent() and self.subcommand == "test"):
            self.settings.trainer.logger = False  # scores are printed, not logged
        run_loggers.prepare(self.settings.trainer.logger, self.run.folder)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with the callbacks and loggers that every run has."""
        loggers = self.configured_loggers()
        for logger in loggers:
            drop_unknown_wandb_options(logger)
        if self.fitting:
            kwargs["logger"] = [*loggers, MetricsLogger(self.run.folder)]
        bar = [] if self.settings.trainer.enable_progress_bar is False else [RunProgress()]
        files = [self.run_summary, MetricsFile(), EventFiles()]
        self.trainer_defaults["callbacks"] = [Timing(), *bar, *files, RunReport()]
        return super().instantiate_trainer(**kwargs)

    def equip(self, trainer: Trainer) -> Trainer:
        """Gives the trainer our loops, signal handling, precision and checkpoint files."""
        for install in (FitLoop.install, Signals.install, keep_settings, Bf16Mixed.install):
            install(trainer)
        checkpoint_io.explain_damage(trainer)
        checkpoint_io.WholeFiles.install(trainer)
        return trainer

    def run_command(self, name: str) -> None:
        if self.only_check:
            self._require_checkpoint()
            self._describe()
            self.check()
        else:
            super().run_command(name)

    def before_fit(self) -> None:
        """Checks everything before anything is written, then writes the complete configuration."""
        self._describe()
        if not is_first_process():
            return
        self.check()
        run_folder.check_space(self.run.folder, sum(p.numel() for p in self.model.parameters()))
        self._write_config()
        run_loggers.log_settings(self.trainer.loggers, self.saved)

    def _describe(self) -> None:
        """Renders the complete configuration, as text and as settings."""
        self.saved_text = self.dump("fit", self.saved)
        self.run_summary.settings = flatten(yaml.safe_load(self.saved_text))
        if not self.fitting:
            self.run_summary.settings["ckpt_path"] = str(Path(self.settings.ckpt_path).resolve())

    def _write_config(self) -> None:
        with written_whole(self.run.folder / "config.yaml") as temporary:
            temporary.write_text(self.saved_text, encoding="utf-8")

    def check(self) -> None:
        """Raises ConfigError unless data, model, checkpoint and everything to be scored or predicted fit together."""
        self.datamodule.trainer = self.trainer  # as the trainer does later
        self.trainer.datamodule = self.datamodule  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        (data := self.datamodule).prepare_data()
        data.setup(self.subcommand)
        self.model.check_data(type(data).__name__)
        with blamed_on("model.reverse.network.num_classes"):
            data.check_labels(self.model.num_classes)
        self.model.check(data.image_shape, data.num_levels, data.num_classes)
        run_options.check_monitors(self.trainer, self.model)
        try:
            optimizers = self.model.build_optimizers()
        except (TypeError, ValueError) as error:
            raise ForeignError(str(error), key="model.optimizer") from error
        if self.settings.ckpt_path:
            file, settings = Path(self.settings.ckpt_path), self.run_summary.settings
            checkpoint = checkpoint_files.check(file, self.model, optimizers if self.fitting else [], settings)
            if self.fitting:
                check_resume(file, checkpoint, self.trainer, self.model)
        if self.fitting:
            self.model.check_trainer(self.trainer, data.batch_size)
            schedule_check.check_schedule(self.trainer, self.model, self.datamodule)
        for callback in callbacks_of(self.trainer):
            if isinstance(callback, Evaluation | Prediction | SampleGrids) and callback.runs_in(self.subcommand):
                with blamed_on("prediction" if isinstance(callback, Prediction) else None):
                    callback.check(self.trainer, self.model)

    def before_validate(self) -> None:
        self._require_checkpoint()
        if is_first_process():
            self.check()
            self._describe()
            if self.subcommand == "test":
                self.run_summary.check(self.trainer)  # before the work starts
            if self.subcommand != "validate" and not (self.run.folder / "config.yaml").exists():
                self._write_config()  # a new folder of scores or samples says where they come from

    before_test = before_predict = before_validate

    def _require_checkpoint(self) -> None:
        if not self.fitting and not self.settings.ckpt_path:
            raise ConfigError("no checkpoint given; use --ckpt_path last, best, or a file", key=checkpoint_files.KEY)
