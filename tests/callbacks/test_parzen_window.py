"""The Parzen score of a run: of all test images, with the best sigma for training images, and its protocol."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity

from lit_diffusion.data import Digits
from lit_diffusion.errors import ConfigError
from tests.conftest import CONFIGS, TINY

FIT = [*TINY, "--trainer.max_steps=3", "--run.name=here"]
PARZEN = ["--parzen.num_samples=103", "--parzen.batch_size=20", "--parzen.num_validation=50", "--parzen.at_end=true"]


def scores(folder) -> dict:
    return json.loads((folder / "runs/here/summary.json").read_text())["scores"]


def unit(levels: torch.Tensor) -> np.ndarray:
    return levels.flatten(1).numpy() / 16


def test_the_score_is_that_of_scikit_learn_on_the_samples_that_predict_writes(command, tmp_path):
    """8 bits of rounding apart: mean over all 297 test images, sigma from the last 50 training images, in bits."""
    command("fit", *FIT, *PARZEN)
    score = scores(tmp_path)["parzen_log_likelihood"]
    command(
        *("predict", "-c", "runs/here/config.yaml", "--ckpt_path=last"),
        *("--prediction.num_samples=103", "--prediction.batch_size=20"),
    )
    y = np.load(tmp_path / "runs/here/predict/samples.npz")["arr_0"][..., 0].reshape(103, 64) / 255
    data = Digits()
    data.setup()
    fitted = {  # with leaves of all samples, as differences of far nodes' bounds lose all digits
        sigma: KernelDensity(bandwidth=sigma, rtol=0, leaf_size=200).fit(y) for sigma in np.logspace(-2, 0, 21).tolist()
    }
    best = max(fitted, key=lambda sigma: fitted[sigma].score_samples(unit(data.images("train")[-50:])).mean())
    found = fitted[best].score_samples(unit(data.images("test"))) / math.log(2)
    protocol = score["protocol"]
    assert protocol["sigma"] == pytest.approx(best, rel=1e-5)
    assert score["value"] == pytest.approx(found.mean(), rel=1e-3)
    assert score["std"] == pytest.approx(found.std(ddof=1) / math.sqrt(297), rel=1e-2)
    expected = {"samples": 103, "images": 297, "split": "test", "unit": "bits/image", "values": "[0, 1]", "nfe": 7}
    assert expected.items() <= protocol.items() and protocol["sigma_from"] == "the last 50 training images"


def test_scoring_at_the_end_is_scoring_the_last_checkpoint(command, tmp_path):
    """And both are said in the terminal with what they depend on; without it the score is left out."""
    command("fit", *FIT, *PARZEN)
    first = scores(tmp_path)["parzen_log_likelihood"]
    command("test", "-c", "runs/here/config.yaml", "--ckpt_path=last")
    assert scores(tmp_path)["parzen_log_likelihood"] == first
    command("fit", *FIT[:-1], "--run.name=none")
    assert "parzen_log_likelihood" not in json.loads((tmp_path / "runs/none/summary.json").read_text())["scores"]


def test_real_values_are_taken_as_they_are(command, tmp_path, capsys):
    """Points of the plane, far beyond [0, 1]; a range that ends too soon is said."""
    command(
        *("fit", "-c", f"{CONFIGS}/swiss_roll.yaml", "--data.num_train=2000", "--data.num_test=50"),
        *("--trainer.logger=false", "--trainer.accelerator=cpu", "--grids.every_n_steps=0", "--trainer.max_steps=3"),
        *("--bits_per_dim.splits=[]", "--run.name=here", *PARZEN, "--parzen.sigma_max=0.1"),
    )
    score = scores(tmp_path)["parzen_log_likelihood"]
    assert score["protocol"]["values"] == "as they are" and score["protocol"]["sigma"] == pytest.approx(0.1)
    assert "the best sigma, 0.1, is an end of its range" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parzen.num_samples=-1"], "num_samples: expected 0 or more, got -1"),
        (["--parzen.sigma_min=0"], "sigma_min: expected 0 < sigma_min <= sigma_max, got 0 and 1"),
        (["--parzen.num_sigmas=0"], "num_sigmas: expected 1 or more, got 0"),
    ],
)
def test_a_mistake_is_one_line(command, options, message):
    with pytest.raises(ConfigError, match=message) as error:
        command("fit", *FIT, *PARZEN, *options)
    assert "\n" not in str(error.value)
