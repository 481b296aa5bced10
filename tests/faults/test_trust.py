"""A configuration of a stranger names no class and no function outside the packages that are allowed."""

import os
import sys

import pytest
import yaml

from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.command import main as sweep
from lit_diffusion.sweep.sweep_file import SweepFile
from tests.conftest import TINY

CELL = {
    "program": "lightning",
    "method": "grid",
    "parameters": {"ema.decay": {"values": [0.9]}},
    "command": ["${env}", "${program}", "fit", "-c", "${envvar:LIT_DIFFUSION_CONFIG}", "${args}"],
}
# A module that leaves a file behind when it is imported.
MODULE = "import pathlib, sys\nfrom torch import nn\npathlib.Path({!r}).touch()\nclass Network(nn.Module): pass\n"
NETWORK = "model.reverse.network"
OUTSIDE = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "torch.os.system",
    "torch.hub.load",
    "torch.load",
    "torch.jit.load",
    "torch.utils.cpp_extension.load",
    "torch.utils.collect_env.run",
    "torch.ops.load_library",
    "torch.package.PackageImporter",
    "lightning.pytorch.trainer.trainer.os.system",
    "lightning.fabric.utilities.cloud_io._load",
    "lit_diffusion.callbacks.run_summary.subprocess.run",
    "lit_diffusion.callbacks.run_summary.git_commit.__globals__",
    "lit_diffusion.sweep.job.os.kill",
    "torch.nn.modules.module.functools.partial",
    "lightning.pytorch.loggers.csv_logs.os.remove",
    "jsonargparse.ArgumentParser",
    "hostile_module.Network",
]


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module of a stranger that Python would find, and the file that it would leave."""
    monkeypatch.setenv("LIT_DIFFUSION_ALLOW", "")
    touched = tmp_path / "touched"
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "hostile_module.py").write_text(MODULE.format(str(touched)))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(os, "system", lambda text: touched.touch())
    yield touched
    sys.modules.pop("hostile_module", None)


@pytest.fixture
def refused(command, trap):
    """The one line of a command that is refused before anything is imported."""

    def run(*arguments: str) -> str:
        with pytest.raises(ConfigError) as caught:
            command("fit", *TINY, *arguments)
        assert not trap.exists() and "hostile_module" not in sys.modules
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_network_outside_the_allowed_packages_is_refused_by_name(refused, path):
    """Also where the way to it leads through a module of an allowed package."""
    message = refused(f"--{NETWORK}={path}")
    assert (
        "is not on the allow-list of configurations; if you trust it, add --allow=" in message or "no class" in message
    )
    assert message.startswith(f"command line: {NETWORK}: ")


@pytest.mark.parametrize(
    "option",
    [
        f"--{NETWORK}.class_path=hostile_module.Network",
        f'--{NETWORK}={{"class_path": "hostile_module.Network"}}',
        '--model={"class_path": "hostile_module.Network"}',
        "--model=hostile_module.Network",
        "--data=hostile_module.Network",
        "--model.sampler=hostile_module.Network",
        "--model.optimizer=hostile_module.Network",
        "--model.lr_schedule=hostile_module.Network",
        "--prediction=hostile_module.Network",
        "--scores.features=hostile_module.Network",
        "--trainer.callbacks=hostile_module.Network",
        "--trainer.callbacks+=hostile_module.Network",
        '--trainer.callbacks=[{"class_path": "hostile_module.Network"}]',
        '--trainer.callbacks={"class_path": "LambdaCallback", "init_args": {"on_fit_end": "hostile_module.Network"}}',
        "--trainer.logger=hostile_module.Network",
        "--trainer.strategy=hostile_module.Network",
        "--trainer.plugins=[hostile_module.Network]",
        "--trainer.profiler.class_path=hostile_module.Network",
        "--model.reverse.process.schedule.dict_kwargs.x.class_path=hostile_module.Network",
        f"--{NETWORK}.help=hostile_module.Network",
    ],
)
def test_no_setting_imports_a_module_of_a_stranger(refused, option):
    refused(option)


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"init_args": {"reverse": {"init_args": {"network": "hostile_module.Network"}}}}},
        {"model": {"init_args": {"reverse": {"init_args": {"network": {"class_path": "hostile_module.Network"}}}}}},
        {"data": {"class_path": "hostile_module.Network"}},
        {"trainer": {"callbacks": [{"class_path": "EMA"}, {"class_path": "hostile_module.Network"}]}},
        {"trainer": {"logger": [{"class_path": "hostile_module.Network"}]}},
    ],
)
def test_no_overlay_imports_a_module_of_a_stranger(refused, tmp_path, content):
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(content))
    assert refused("-c", "overlay.yaml").startswith("overlay.yaml: ")


def test_what_the_user_allows_is_named_in_full(command, trap, monkeypatch):
    """By the flag, in both spellings, or by the variable that other processes inherit; the next command forgets it."""
    network = f"--{NETWORK}=hostile_module.Network"

    def imports(*arguments: str) -> bool:
        with pytest.raises(ConfigError):
            command("fit", *TINY, network, *arguments)  # which takes no channels
        sys.modules.pop("hostile_module", None)
        found = trap.exists()
        trap.unlink(missing_ok=True)
        return found

    assert imports("--allow", "hostile_module")
    assert not imports()
    assert imports("--allow=other,hostile_module")
    assert imports("--allow=hostile_module.Network")
    assert not imports("--allow=hostile")
    monkeypatch.setenv("LIT_DIFFUSION_ALLOW", "hostile_module")
    assert imports()


@pytest.mark.parametrize(
    "flag", [["--allow"], ["--allow="], ["--allow", "--x=1"], ["--allow=a/b"], ["--allow=jsonargparse"]]
)
def test_a_flag_that_allows_nothing_is_refused(refused, flag):
    assert refused(*flag).startswith("--allow")


def test_a_file_cannot_allow(refused, tmp_path):
    """Neither a configuration nor a sweep file says whom to trust."""
    (tmp_path / "overlay.yaml").write_text("allow: hostile_module\n")
    assert "overlay.yaml: allow: no such setting" in refused("-c", "overlay.yaml")
    for own in (
        {"parameters": {"allow": {"values": ["hostile_module"]}}},
        {"command": [*CELL["command"][:-1], "--allow=hostile_module", "${args}"]},
    ):
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**CELL, **own}))
        with pytest.raises(ConfigError, match="cannot extend the trusted packages"):
            SweepFile.read(tmp_path / "sweep.yaml")


def test_no_sweep_imports_a_module_of_a_stranger(trap, tmp_path, monkeypatch):
    """Neither by a cell nor by the options of all cells."""
    monkeypatch.chdir(tmp_path)
    for own in (
        {"parameters": {NETWORK: {"values": ["hostile_module.Network"]}}},
        {"command": [*CELL["command"][:-1], f"--{NETWORK}=hostile_module.Network", "${args}"]},
    ):
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**CELL, **own}))
        with pytest.raises(ConfigError, match="Network is not on the allow-list .* --allow=hostile_module"):
            sweep(["sweep.yaml", *TINY, "--dry-run"])
        assert not trap.exists()
        with pytest.raises(ConfigError, match="network"):
            sweep(["sweep.yaml", *TINY, "--dry-run", "--allow", "hostile_module"])
        assert trap.exists()
        trap.unlink()
        sys.modules.pop("hostile_module", None)


def test_programs_of_features_are_named_by_the_user_alone(refused):
    """A .pt2 file is code."""
    message = refused("--scores.features=FileFeatures", "--scores.features.path=mine.pt2")
    assert "add --allow=lit_diffusion.metrics.features.FileFeatures" in message


def test_no_configuration_reads_the_environment(refused, tmp_path, monkeypatch):
    """config.yaml and W&B would hold what stood there."""
    monkeypatch.setenv("SECRET", "hunter2")
    message = refused("--run.name=${oc.env:SECRET}")
    assert "configurations cannot read environment variables" in message and "hunter2" not in message
