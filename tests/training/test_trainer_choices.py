"""The names and classes that settings of Lightning's trainer may have."""

import warnings

import pytest
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from lightning_utilities.core.imports import RequirementCache

from lit_diffusion.callbacks import TensorBoard
from lit_diffusion.config.class_choices import USE_INSTEAD, classes_of, parameters_of
from lit_diffusion.config.keys import PACKAGE, is_within
from lit_diffusion.errors import ConfigError
from lit_diffusion.training.error_location import missing_package
from lit_diffusion.training.quiet import as_line
from lit_diffusion.training.run_options import CALLBACK_KEYS
from lit_diffusion.training.settings_help import help_text
from lit_diffusion.training.trainer_choices import as_plain, check_choices, check_classes, choices
from tests.conftest import TINY


def test_the_defaults_of_lightnings_classes_can_be_written():
    """Some are members of an enumeration or devices, which YAML cannot represent."""
    for cls in (*classes_of(Callback), *classes_of(Logger)):
        for parameter in parameters_of(cls).values():
            plain = as_plain(parameter.default)
            if not callable(plain):  # nor missing
                yaml.safe_dump(plain)
    assert as_plain(torch.device("cpu")) == "cpu"


def test_a_run_with_a_timer_says_so_in_its_configuration(parse):
    """Whose interval is an enumeration, and a device that of StochasticWeightAveraging."""
    timer = ["--trainer.callbacks+=Timer", "--trainer.callbacks.duration=00:00:00:01"]
    averaging = ["--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=1e-3"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="\\s*Unable to serialize")
        cli = parse(*TINY, *timer, *averaging, "--trainer.callbacks.swa_epoch_start=1")
        first, second = yaml.safe_load(cli.dump("fit", cli.settings))["trainer"]["callbacks"]
    assert first["init_args"] == {"duration": "00:00:00:01", "interval": "step", "verbose": True}
    assert second["init_args"]["device"] == "cpu"


def test_help_offers_no_class_that_is_refused():
    """Neither ours, which every run has, nor Lightning's that a run cannot use."""
    loggers = [cls for cls in classes_of(Logger) if cls is not TensorBoard]
    assert len(loggers) == len(classes_of(Logger)) - 1
    for cls in (*classes_of(Callback), *loggers):
        assert not is_within(cls.__module__, [PACKAGE]) and cls.__name__ not in USE_INSTEAD
    text = help_text("fit", "trainer.callbacks")
    assert "EarlyStopping" in text and "ModelCheckpoint" not in text and "RunSummary" not in text
    known = help_text("fit")
    assert all(f"{key}: " in known or key == "model.optimizer.lr" for key in USE_INSTEAD.values())


def test_accelerators_are_those_of_this_machine():
    """`gpu` only with one."""
    names = {setting: offered for setting, _, offered in choices()}
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert ("gpu" in names["accelerator"]) == gpu and {"cpu", "auto"} <= {*names["accelerator"]}


@pytest.mark.parametrize(
    ("said", "package"),
    [
        ("`DeviceStatsMonitor` cannot log CPU stats as `psutil` is not installed. Requirement 'psutil' not met. HINT: "
         "Try running `pip install -U 'psutil'`", "psutil"),
        ("Requirement 'mlflow>=1.0.0' not met. HINT: Try running `pip install -U 'mlflow>=1.0.0'`", "mlflow"),
        ("To use the `DeepSpeedStrategy`, you must have DeepSpeed installed. Install it by running `pip install -U "
         "deepspeed`.", "deepspeed"),
    ],
)  # fmt: skip
def test_a_package_that_is_not_installed_is_named(said, package):
    """In all of Lightning's wordings."""
    expected = f"expected the package {package} to be installed; run `pip install {package}`"
    assert missing_package(ModuleNotFoundError(said)) == expected
    assert missing_package(ModuleNotFoundError("No module named 'x'")) is None


def test_a_missing_package_of_a_callback_blames_the_callback(command, tmp_path, monkeypatch):
    """Although the message names the device, too."""
    missing = RequirementCache("no-such-package")
    monkeypatch.setattr("lightning.pytorch.callbacks.device_stats_monitor._PSUTIL_AVAILABLE", missing)
    with pytest.raises(ConfigError, match="^command line: trainer.callbacks: expected the package no-such-package"):
        command("fit", *TINY, "--trainer.callbacks=DeviceStatsMonitor")
    assert not list(tmp_path.glob("runs/*"))


def test_a_trial_of_another_command_suggests_its_own_setting(command):
    """`predict` draws samples by `prediction`."""
    for name, key in (("predict", "prediction"), ("test", "scores")):
        with pytest.raises(ConfigError, match=f"use fewer samples, such as --{key}.num_samples=10$"):
            command(name, *TINY, "--ckpt_path=x", "--trainer.fast_dev_run=true")


def test_warnings_are_one_line_without_places_in_lightnings_code():
    """Those of other code keep the place."""
    text, place = "set it\nto 1", "/x/lightning/fabric/connector.py"
    assert as_line(UserWarning(text), UserWarning, place, 571) == "set it to 1\n"
    assert as_line(UserWarning(text), UserWarning, "/x/mine.py", 5) == "/x/mine.py:5: UserWarning: set it to 1\n"


SETTINGS = {"accelerator": "cpu", "strategy": "auto", "profiler": None, "gradient_clip_algorithm": None, "devices": 1}
OURS = "lit_diffusion.callbacks."


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("devices", "0", "expected 1 or more, or auto; got 0"),
        ("strategy", "dpp", "one of auto, ddp, xla; got dpp; use ddp"),
        ("profiler", "simpel", "expected a profiler, one of simple, advanced, pytorch, xla; got simpel; use simple"),
        ("gradient_clip_algorithm", "nrom", "expected an algorithm, one of norm, value; got nrom; use norm"),
        ("callbacks", "lightning.pytorch.callbacks.ModelCheckpoint", "use --checkpoint.every_n_steps"),
        ("callbacks", OURS + "Timing", "expected no Timing, which every run has; omit it"),
        ("callbacks", OURS + "Samples", "expected no Samples, which every run has; use `predict --prediction=Samples`"),
        ("callbacks", OURS + "SampleGrids", "expected no SampleGrids, which every run has; use --grids.every_n_steps"),
        ("logger", OURS + "MetricsLogger", "expected no MetricsLogger, which every run has; omit it"),
    ],
)
def test_what_no_run_can_use_is_refused_by_name(setting, value, said):
    """With the setting to use instead."""
    given = [Namespace(class_path=value)] if setting in ("callbacks", "logger") else value
    trainer = Namespace(**{**SETTINGS, "precision": None, "callbacks": None, "logger": False, setting: given})
    with pytest.raises(ConfigError) as caught:
        check_choices(trainer)
        check_classes(trainer, CALLBACK_KEYS)
    assert said in str(caught.value) and caught.value.key == f"trainer.{setting}"
