"""The one door to Lightning's private names: no other file of the package touches one.

`tests/training/test_lightning_internals.py` checks each name and signature, so that an upgrade of Lightning fails there
first. Classes and functions here have public names and hooks; what is done with them stands in the files that use them.
"""

import signal
from collections.abc import Callable
from typing import Any, cast

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loops.fetchers import _DataFetcher as DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop as FitLoopBase
from lightning.pytorch.loops.optimization.automatic import _AutomaticOptimization
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from torch.optim import Optimizer

CHECKPOINT_HELP = "last, best, or a file; `fit --ckpt_path last` resumes in the folder of the run."

__all__ = [
    "CLIBase",
    "DataFetcher",
    "EpochLoopBase",
    "FitLoopBase",
    "SignalConnectorBase",
    "connect_signals",
    "drop_unknown_wandb_options",
    "signal_connector_of",
    "wrap_restoring",
]


class EpochLoopBase(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch. Ranks agree on signals elsewhere, not at its every batch.

    An update of the weights takes a window of `trainer.accumulate_grad_batches` batches, whole wherever an epoch ends:
    Lightning cuts it there, and divides the shorter sum of gradients by the full length all the same. A validation that
    is due within a window takes place at its end.
    """

    def __init__(self, trainer: Trainer, min_steps: int | None = None, max_steps: int = -1):
        super().__init__(trainer, min_steps, max_steps)
        self.automatic_optimization = WindowedOptimization(trainer)
        self._first_batch = 0  # of all windows of this fit
        self.validation_due = False

    def begin_windows(self) -> None:
        """The next batch is the first of a window."""
        self._first_batch = self.batch_progress.total.ready

    @property
    def batches_in_window(self) -> int:
        """How many batches the current window has; 0 between two steps."""
        return (self.batch_progress.total.ready - self._first_batch) % self.trainer.accumulate_grad_batches

    def is_accumulating(self) -> bool:
        """Whether the last batch was followed by no update of the weights."""
        return self.batches_in_window > 0

    def is_epoch_over(self) -> bool:
        """Whether the last batch was that of an epoch."""
        return self._num_ready_batches_reached()

    def is_validation_due(self, data_fetcher: DataFetcher) -> bool:
        """Whether a validation follows this batch."""
        return self._should_check_val_fx(data_fetcher)

    def _should_accumulate(self) -> bool:
        return self.is_accumulating()

    def _should_check_val_fx(self, data_fetcher: DataFetcher) -> bool:
        self.validation_due |= super()._should_check_val_fx(data_fetcher)
        return self.validation_due and not self.is_accumulating()

    def on_advance_end(self, data_fetcher: DataFetcher) -> None:
        """Validates if that is due."""
        super().on_advance_end(data_fetcher)
        self.validation_due &= self.is_accumulating()

    def end_restart(self) -> None:
        """Lightning would otherwise resume a validation in its middle, without the loss of its first half."""
        for loop in (self.trainer.fit_loop, self, self.val_loop):
            loop._restarting = False

    def _broadcast_sigterm_tensor(self) -> None:
        """Does nothing: ranks agree at the end of each step."""


class WindowedOptimization(_AutomaticOptimization):
    """Forward, backward and update of a batch. Gradients are cleared where a window begins; by Lightning where
    `batch_idx`, which counts from the start of an epoch, is a multiple of its length.
    """

    def _make_zero_grad_fn(self, batch_idx: int, optimizer: Optimizer) -> Callable[[], None] | None:
        loop = cast(EpochLoopBase, self.trainer.fit_loop.epoch_loop)
        batches = loop.batches_in_window or self.trainer.accumulate_grad_batches  # with this one
        return super()._make_zero_grad_fn(batches - 1, optimizer)


class SignalConnectorBase(_SignalConnector):
    """What a trainer does on signals; `register_signal_handlers` is called at the start, `teardown` at the end."""

    trainer: Trainer

    def handle(self, signum: int, handler: Callable[..., Any]) -> None:
        """Installs a handler until `teardown`."""
        self._original_handlers[signum] = signal.getsignal(signum)
        self._register_signal(signum, handler)

    @property
    def slurm(self) -> SLURMEnvironment | None:
        """The SLURM job that this process belongs to, if it is to be requeued."""
        environment = self.trainer._accelerator_connector.cluster_environment
        return environment if isinstance(environment, SLURMEnvironment) and environment.auto_requeue else None


def connect_signals(trainer: Trainer, connector: SignalConnectorBase) -> None:
    """Replaces the trainer's signal connector."""
    trainer._signal_connector = connector


def signal_connector_of(trainer: Trainer) -> _SignalConnector:
    """The trainer's signal connector, Lightning's or ours."""
    return trainer._signal_connector


def wrap_restoring(trainer: Trainer, wrap: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
    """Wraps the two functions that load a checkpoint's content into model, callbacks, optimizers and loops."""
    connector = trainer._checkpoint_connector
    for name in ("_restore_modules_and_callbacks", "restore_training_state"):
        setattr(connector, name, wrap(getattr(connector, name)))


def drop_unknown_wandb_options(logger: Logger) -> None:
    """wandb warns of the argument `anonymous`, which Lightning's WandbLogger always passes on."""
    getattr(logger, "_wandb_init", {}).pop("anonymous", None)


class CLIBase(LightningCLI):
    """LightningCLI, whose private hooks have public names here."""

    subcommand: str

    def equip(self, trainer: Trainer) -> Trainer:
        """Called once with the new trainer; returns it with the parts that every run has."""
        return trainer

    def run_command(self, name: str) -> None:
        """Runs the sub-command: its `before_` hook, the trainer's method, its `after_` hook."""
        super()._run_subcommand(name)

    def configured_loggers(self) -> list[Logger]:
        """The loggers that the configuration asks for."""
        given = self._get(self.config_init, "trainer")["logger"]
        return given if isinstance(given, list) else [given] if given not in (None, True, False) else []

    def known_keys(self) -> list[str]:
        """The dotted keys that the sub-command accepts, besides those of classes that settings name; none before the
        parser exists.
        """
        parsers = getattr(self, "_subcommand_parsers", {})
        if self.subcommand not in parsers:
            return []
        return ["config", "print_config", *parsers[self.subcommand].get_defaults(skip_validation=True).keys()]

    def dump(self, command: str, settings: Any) -> str:
        """Settings of a sub-command as YAML, with every default."""
        text: str = self._parser(command).dump(settings, skip_none=False)
        return text

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        return self.equip(super()._instantiate_trainer(config, callbacks))

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_command(subcommand)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Replaces Lightning's help of `ckpt_path`, whose keywords `hpc` and `registry` mean nothing here."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        for action in parser._actions:
            if action.dest == "ckpt_path":
                action.help = CHECKPOINT_HELP
        return parser

    def _parse_ckpt_path(self) -> None:
        """Does nothing: the parent lets a checkpoint's hyper-parameters override the command line."""
