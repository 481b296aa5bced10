"""K, L_null, their difference and the gap to the truth, as scores with standard errors."""

import json
import math

import pytest

from lit_diffusion.data import SwissRoll
from tests.conftest import CONFIGS

QUICK = [
    "--trainer.logger=false",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--grids.every_n_steps=0",
    "--model.reverse.network.width=16",
    "--trainer.max_steps=30",
    "--trainer.val_check_interval=30",
    "--ema.decay=0",
    "--run.name=here",
]
PREVIOUS = ["--model.reverse.parameterization=PreviousBit"]
FEW = ["--data.num_train=600", "--data.num_test=50"]
CASES = {
    "heartbeat": (
        ["--model.reverse.process.schedule.num_steps=20", "--data.num_train=600", "--data.num_test=50"],
        20,
        "bits",
    ),
    "swiss_roll": (["--data.num_train=2000", "--data.num_test=50"], 2, "bits"),
    "binarized_digits": (["--bits_per_dim.terms=5", "--model.reverse.network.groups=4"], 1, "bits/pixel"),
}


@pytest.mark.parametrize("name", CASES)
def test_k_is_the_bound_in_bits_and_is_compared_with_null_and_truth(command, tmp_path, name):
    """K = -bits/dim times the values of an example or pixel; K - L_null and the gap follow from it."""
    options, values, unit = CASES[name]
    command("fit", "-c", f"{CONFIGS}/{name}.yaml", *QUICK, *options)
    scores = json.loads((tmp_path / "runs/here/summary.json").read_text())["scores"]
    k, l_null, difference = scores["K"], scores["L_null"], scores["K_minus_null"]
    assert k["value"] == pytest.approx(-values * scores["bits_per_dim/test"]["value"], rel=1e-6)
    assert k["std"] == pytest.approx(values * scores["bits_per_dim/test"]["std"], rel=1e-6)
    assert difference["value"] == pytest.approx(k["value"] - l_null["value"], rel=1e-6)
    assert k["protocol"]["unit"] == unit and k["protocol"]["split"] == "test"
    if name == "heartbeat":
        assert l_null["value"] == pytest.approx(-14.438562, abs=1e-5)
        assert scores["gap"]["value"] == pytest.approx(-2.321928 - k["value"], rel=1e-6)
    if name == "swiss_roll":
        data = SwissRoll(num_train=600, num_test=50)
        data.setup()
        log_p = data.log_density(data.images("test")).mean().item() / math.log(2)
        assert scores["gap"]["value"] == pytest.approx(log_p - k["value"], rel=1e-6)
    if name == "binarized_digits":
        assert "gap" not in scores


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "heartbeat",
            ["--data=Digits"],
            "model.reverse: expected binary data for BernoulliReverse, got 17 levels",
        ),
        ("swiss_roll", ["--model.reverse.clip_x_0=true"], "clip_x_0"),
        (
            "heartbeat",
            ["--model.reverse.process.rate=1.5"],
            "rate: expected a number in \\(0, 1\\), so that both values occur, got 1.5",
        ),
        (
            "heartbeat",
            ["--model.sampler=DPMSolverPlusPlusSampler"],
            "expected a model with Gaussian noise for DPMSolverPlusPlusSampler, got BernoulliReverse",
        ),
        ("heartbeat", ["--model.objective=Hybrid"], "Hybrid"),
        (
            "heartbeat",
            [*PREVIOUS, "--model.sampler.steps=100"],
            "model.*: expected all T steps for PreviousBit, got a chain that skips some; set steps: null",
        ),
        (
            "heartbeat",
            [*PREVIOUS, "--grids.every_n_steps=5", "--grids.sampler=AncestralSampler", "--grids.sampler.steps=100"],
            "grids.sampler: expected all T steps for PreviousBit",
        ),
        (
            "heartbeat",
            ["--grids.every_n_steps=5", "--grids.sampler=DDIMSampler"],
            "grids.sampler: expected a model with Gaussian noise for DDIMSampler, got BernoulliReverse",
        ),
    ],
)
def test_families_and_data_that_do_not_fit_are_one_line(command, name, options, message):
    """Non-binary data in the binomial family, points that would be clipped, p outside (0, 1), DDIM on bits."""
    from lit_diffusion.errors import ConfigError

    with pytest.raises(ConfigError, match=message) as error:
        command("fit", "-c", f"{CONFIGS}/{name}.yaml", *QUICK, *options)
    assert "\n" not in str(error.value)
