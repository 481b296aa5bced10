"""The Python interface: the command line's bits, its errors as exceptions, and nothing else touched."""

import csv
import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import wandb

import lit_diffusion
from lit_diffusion.data.digits import Digits
from lit_diffusion.diffusion import AncestralSampler, DDIMSampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_float, to_levels
from tests.conftest import DIGITS, TINY, TINY_VAE

STEPS = ["--trainer.max_steps=6"]
SETTINGS = {"trainer__accelerator": "cpu"}


@pytest.fixture
def run(toy_run):
    return toy_run(*STEPS)


def arrays(path):
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def same(ours, theirs):
    """Whether a dictionary of tensors, channels first, is that of an NPZ file, channels last."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        array = array.movedim(-3, -1) if array.ndim > 3 else array
        assert array.dtype == theirs[name].dtype and array.equal(theirs[name]), name


def test_samples_and_predictions_are_those_of_the_command_line(run, command):
    """For the same seed, bit for bit: samples in two blocks, reconstructions, interpolations and inpainted images."""
    model = lit_diffusion.load(run, **SETTINGS)
    options = ["-c", f"{run}/config.yaml", "--ckpt_path=last"]
    ddim = "--prediction.sampler={class_path: DDIMSampler, init_args: {steps: 3}}"
    command("predict", *options, "--prediction.num_samples=9", "--prediction.batch_size=5", "--seed_everything=7")
    theirs = arrays(run / "predict/samples.npz")["arr_0"][..., :1].permute(0, 3, 1, 2)
    assert to_levels(model.sample(9, batch_size=5, seed=7), 256).equal(theirs)
    assert not to_levels(model.sample(9, batch_size=5), 256).equal(theirs)  # the run's seed is another

    command("predict", *options, "--prediction=Reconstruct", "--prediction.steps=[2,5]", "--prediction.num_images=3")
    test = to_float(Digits(batch_size=1).read()["test"].images[:3], 17)
    same(model.reconstruct(test, steps=[2, 5]), arrays(run / "predict/reconstruct.npz"))
    command("predict", *options, "--prediction=Interpolate", "--prediction.num_pairs=1", ddim)
    same(model.interpolate(test[:2], sampler=DDIMSampler(steps=3)), arrays(run / "predict/interpolate.npz"))
    command("predict", *options, "--prediction=Inpaint", "--prediction.draws=2", ddim)
    same(model.inpaint(draws=2, sampler=DDIMSampler(steps=3)), arrays(run / "predict/inpaint.npz"))


def test_bits_per_dim_are_those_of_the_command_line_and_their_parts_add_up(run, command):
    model = lit_diffusion.load(run, **SETTINGS)
    command("test", "-c", f"{run}/config.yaml", "--ckpt_path=last", "--bits_per_dim.splits=[test]")
    theirs = json.loads((run / "summary.json").read_text())["scores"]["bits_per_dim/test"]
    whole = model.bits_per_dim()
    assert whole.scores["bits_per_dim"].as_dict() == theirs
    assert (whole.value, whole.error) == (theirs["value"], theirs["std"])
    assert whole.per_example.shape == (297,) and whole.per_example.mean().item() == pytest.approx(whole.value)
    parts = [whole.terms[name].value for name in ("L_T", "L_1..T-1", "L_0")]
    assert sum(parts) == pytest.approx(whole.value)
    test = Digits(batch_size=1).read()["test"].images[:20]
    of_levels, of_floats = (model.bits_per_dim(images, terms=None) for images in (test, to_float(test, 17)))
    assert of_levels.per_example.equal(of_floats.per_example)
    assert of_levels.curve.terms.sum().item() == pytest.approx(of_levels.value - of_levels.terms["L_T"].value)


def test_weights_are_the_averaged_or_the_trained_ones(run):
    states = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    for weights, name in (("ema", "state_dict"), ("raw", "current_model_state")):
        model = lit_diffusion.load(run, weights=weights, **SETTINGS)
        held = model.module.state_dict()
        assert all(value.equal(held[key]) for key, value in states[name].items())
        assert model.bits_per_dim(terms=2).scores["bits_per_dim"].protocol["weights"] == weights


def test_train_makes_the_run_of_the_command_line(run, tmp_path, monkeypatch, capsys):
    """The same weights as `lightning fit` with the same options, and the columns of its metrics.csv; in silence."""
    monkeypatch.chdir(tmp_path)
    wandb.finish()  # the run of an earlier test in this process
    options = [option.removeprefix("--").split("=", 1) for option in [*TINY[2:], *STEPS]]
    options.remove(["trainer.logger", "false"])  # W&B, whose run ends with the training
    model = lit_diffusion.train(DIGITS, **dict(options), run__name="trained", progress=False)
    assert not capsys.readouterr().out
    assert model.folder.resolve() == tmp_path / "runs/trained"
    assert len([*model.folder.glob("wandb/offline-run-*")]) == 1 and wandb.run is None
    theirs = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(value.equal(theirs[key]) for key, value in model.module.state_dict().items())
    with (run / "metrics.csv").open() as file:
        rows = [(int(row["step"]), float(row["train/loss"])) for row in csv.DictReader(file) if row["train/loss"]]
    assert [*zip(*model.history())] == rows and len(rows) == 6


def test_nothing_else_is_touched(run):
    """The generators of torch, NumPy and Python, the environment and the folder of the run are what they were."""
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate(), dict(os.environ)
    files = sorted(path for path in run.rglob("*"))
    model = lit_diffusion.load(run, **SETTINGS)
    model.sample(2, seed=5)
    model.bits_per_dim(terms=2)
    assert torch.get_rng_state().equal(before[0]) and np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2] and dict(os.environ) == before[3]
    assert sorted(path for path in run.rglob("*")) == files


def test_a_progress_bar_is_shown_on_request(run, capsys):
    model = lit_diffusion.load(run, **SETTINGS)
    model.trainer.progress_bar_callback.plain_every = 0
    model.sample(2)
    assert not capsys.readouterr().out
    model.sample(2, progress=True)
    assert "sampling 2/2" in capsys.readouterr().out


def test_an_autoencoder_encodes_and_decodes(toy_run, command):
    run = toy_run(*STEPS, base=TINY_VAE)
    model = lit_diffusion.load(run, **SETTINGS)
    command("predict", "-c", f"{run}/config.yaml", "--ckpt_path=last", "--prediction=LatentReconstruct")
    same(model.reconstruct(), arrays(run / "predict/reconstruct.npz"))
    command("predict", "-c", f"{run}/config.yaml", "--ckpt_path=last", "--prediction=LatentInterpolate")
    same(model.interpolate(), arrays(run / "predict/interpolate.npz"))
    assert model.bits_per_dim(terms=None).terms.keys() > {"total", "reconstruction"}
    with pytest.raises(ConfigError, match="^steps: expected None for HierarchicalVAEModule"):
        model.reconstruct(steps=[1])
    with pytest.raises(ConfigError, match="has no reverse"):
        model.reverse  # noqa: B018
    with pytest.raises(ConfigError, match="^Inpaint needs a diffusion model"):
        model.inpaint()
    model.module.draw = lambda shape, *rest: torch.full(shape, -5.3)  # a mean beyond the darkest level
    assert model.sample(2).eq(-1).all()


def test_a_run_moved_elsewhere_and_one_of_a_newer_version(run, tmp_path):
    model = lit_diffusion.load(run.rename(tmp_path / "elsewhere"), **SETTINGS)
    assert model.folder == tmp_path / "elsewhere" and len(model.sample(2)) == 2
    file = model.folder / "config.yaml"
    file.write_text(file.read_text().replace("parameterization:", "parametrization_of_tomorrow:"))
    with pytest.raises(ConfigError, match="no such setting"):
        lit_diffusion.load(model.folder)


def test_images_are_scored_as_by_the_command(run, tmp_path, capsys):
    from lit_diffusion.cli.score_command import main

    samples = lit_diffusion.load(run, **SETTINGS).sample(40, sampler=AncestralSampler(steps=2))
    levels = to_levels(samples, 256).permute(0, 2, 3, 1)
    np.savez(tmp_path / "samples.npz", arr_0=levels.numpy())
    options = {"features": "digits", "kid_subset_size": 10, "splits": 2}
    ours = lit_diffusion.score(samples, "digits:test", **options)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    main([str(tmp_path / "samples.npz"), "digits:test", *flags, "--json"])
    theirs = json.loads(capsys.readouterr().out)
    assert {name: one.value for name, one in ours.items()} == {name: one["value"] for name, one in theirs.items()}
    assert ours["fid"].protocol["images"] == "samples"
    mistakes = {
        "samples: expected images of shape": (samples[0], "digits:test"),
        "reference: expected values in [-1, 1]": ("digits:test", samples + 100),
        "images not found: digit:test": ("digit:test", samples),
    }
    for message, (a, b) in mistakes.items():
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
            lit_diffusion.score(a, b, **options)
    with pytest.raises(ConfigError, match="^features: expected inception, digits"):
        lit_diffusion.score(samples, "digits:test", features="vgg")
    with pytest.raises(ConfigError, match="^--features: expected inception, digits"):
        main([str(tmp_path / "samples.npz"), "digits:test", "--features=vgg"])


def test_importing_the_package_imports_no_framework():
    """`import lit_diffusion` takes milliseconds; names of the interface are there, and completed at a prompt."""
    code = "import sys, lit_diffusion; print('torch' in sys.modules, 'lightning' in sys.modules, dir(lit_diffusion))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("False False") and "'load'" in out and "'train'" in out
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lit_diffusion.nothing  # noqa: B018
