"""The one door to dependencies' private names: each exists as it did, and no other file touches one."""

import ast
import inspect
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loops import fetchers, fit_loop, training_epoch_loop
from lightning.pytorch.loops.optimization.automatic import _AutomaticOptimization
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.trainer.connectors import checkpoint_connector, signal_connector

import lit_diffusion

PACKAGE = Path(lit_diffusion.__file__).parent
DOOR = "training/lightning_internals.py"
LOOP = training_epoch_loop._TrainingEpochLoop
SIGNALS = signal_connector._SignalConnector
RESTORE = checkpoint_connector._CheckpointConnector
FUNCTIONS = {  # what the door overrides or calls, with the parameters that it relies on
    "_FitLoop": (fit_loop._FitLoop.__init__, ["self", "trainer", "min_epochs", "max_epochs"]),
    "_TrainingEpochLoop": (LOOP.__init__, ["self", "trainer", "min_steps", "max_steps"]),
    "_should_accumulate": (LOOP._should_accumulate, ["self"]),
    "_num_ready_batches_reached": (LOOP._num_ready_batches_reached, ["self"]),
    "_make_zero_grad_fn": (_AutomaticOptimization._make_zero_grad_fn, ["self", "batch_idx", "optimizer"]),
    "_should_check_val_fx": (LOOP._should_check_val_fx, ["self", "data_fetcher"]),
    "_broadcast_sigterm_tensor": (LOOP._broadcast_sigterm_tensor, ["self"]),
    "_SignalConnector": (SIGNALS.__init__, ["self", "trainer"]),
    "register_signal_handlers": (SIGNALS.register_signal_handlers, ["self"]),
    "teardown": (SIGNALS.teardown, ["self"]),
    "_register_signal": (SIGNALS._register_signal, ["signum", "handlers"]),
    "_restore_modules_and_callbacks": (
        RESTORE._restore_modules_and_callbacks,
        ["self", "checkpoint_path"],
    ),
    "restore_training_state": (RESTORE.restore_training_state, ["self"]),
    "_instantiate_trainer": (LightningCLI._instantiate_trainer, ["self", "config", "callbacks"]),
    "_run_subcommand": (LightningCLI._run_subcommand, ["self", "subcommand"]),
    "_prepare_subcommand_parser": (
        LightningCLI._prepare_subcommand_parser,
        ["self", "klass", "subcommand", "kwargs"],
    ),
    "_parse_ckpt_path": (LightningCLI._parse_ckpt_path, ["self"]),
    "_parser": (LightningCLI._parser, ["self", "subcommand"]),
    "_get": (LightningCLI._get, ["self", "config", "key", "default"]),
}


@pytest.fixture(scope="module")
def trainer():
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_private_functions_have_the_parameters_that_the_door_relies_on(name):
    function, parameters = FUNCTIONS[name]
    assert list(inspect.signature(function).parameters)[: len(parameters)] == parameters


def test_private_attributes_of_a_trainer_exist(trainer):
    assert isinstance(trainer._signal_connector, SIGNALS)
    assert trainer._signal_connector._original_handlers == {}
    assert isinstance(trainer._checkpoint_connector, RESTORE)
    assert trainer._accelerator_connector.cluster_environment.world_size() == 1
    for loop in (trainer.fit_loop, trainer.fit_loop.epoch_loop, trainer.fit_loop.epoch_loop.val_loop):
        assert loop._restarting is False
    assert inspect.isclass(fetchers._DataFetcher)


def test_the_option_that_wandb_does_not_know_is_still_passed_on(tmp_path):
    """Once it is gone, so can `drop_unknown_wandb_options`."""
    assert "anonymous" in WandbLogger(save_dir=str(tmp_path), offline=True)._wandb_init


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_exit"  # that of os is public


FILES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
DEFINED = {  # by the package itself: what its own classes and modules call private
    name
    for file, tree in FILES.items()
    for node in ast.walk(tree)
    if file != DOOR
    for name in (
        [node.name]
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        else [node.attr]
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        else [node.id]
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        else []
    )
    if private(name)
}


@pytest.mark.parametrize("file", [file for file in FILES if file != DOOR])
def test_no_other_file_touches_a_private_name_of_a_dependency(file):
    """Neither imported, accessed nor overridden: a private name is one that the package defines."""
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.ImportFrom) and not node.module.startswith("lit_diffusion"):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert not [name for name in names if private(name)], f"line {node.lineno}"
        elif isinstance(node, ast.Import):
            assert not [part for alias in node.names for part in alias.name.split(".") if private(part)]
        elif isinstance(node, ast.FunctionDef):
            assert not (private(node.name) and node.name in FUNCTIONS), f"line {node.lineno}: {node.name}"
        elif isinstance(node, ast.Attribute) and private(node.attr):
            assert node.attr in DEFINED, f"line {node.lineno}: {node.attr}"


def test_mixed_precision_keeps_no_copies_of_weights():
    """Else the second of two passes in a step, of other weights, would take the copies of the first: a GAN's, or of a
    score of raw and averaged weights.
    """
    with MixedPrecision("bf16-mixed", "cpu").forward_context():
        assert torch.is_autocast_enabled("cpu") and not torch.is_autocast_cache_enabled()
