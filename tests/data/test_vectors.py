"""Standardized columns, and samples and bits in the units of the file."""

import json
import math

import numpy as np
import pytest
import torch

from lit_diffusion.data import Vectors
from tests.conftest import CONFIGS

SCALE, OFFSET = np.array([2.0**20, 2.0**-10]), np.array([2.0**22, 1.0])  # of two, so that standardized values are equal
QUICK = [
    *("-c", f"{CONFIGS}/vectors.yaml", "--trainer.logger=false", "--trainer.enable_progress_bar=false"),
    *(
        "--trainer.accelerator=cpu",
        "--trainer.max_steps=5",
        "--trainer.val_check_interval=5",
        "--grids.every_n_steps=5",
    ),
    *("--model.lr_schedule.T_max=5", "--model.reverse.process.schedule.num_steps=5", "--grids.num_images=20"),
    *("--model.reverse.network.width=8", "--data.batch_size=32", "--data.num_test=20"),
    *("--parzen.num_samples=30", "--parzen.at_end=true"),
]


def rows():
    return np.random.default_rng(0).integers(-512, 512, (100, 2)) / 512


def test_the_training_split_has_mean_0_and_variance_1_and_is_restored(tmp_path):
    x = rows() * SCALE + OFFSET
    np.save(tmp_path / "x.npy", x)
    data = Vectors(f"{tmp_path}/x.npy", 2, num_test=30)
    data.setup()
    train = data.images("train").double()
    assert torch.allclose(train.mean(0), torch.zeros(2).double(), atol=1e-6)
    assert torch.allclose(train.var(0, correction=0), torch.ones(2).double(), atol=1e-6)
    everything = torch.cat([data.restore(data.images(split)) for split in ("train", "test")]).numpy()
    assert np.allclose(np.sort(everything, axis=0), np.sort(x, axis=0), rtol=1e-6)
    chosen = np.isin(x[:, 0], everything[:70, 0])  # of the training split
    assert data.log_volume == pytest.approx(np.log(x[chosen].std(axis=0)).sum(), abs=1e-2)


def test_values_that_are_not_standardized_are_served_as_they_are(tmp_path):
    np.save(tmp_path / "x.npy", rows() * SCALE)
    data = Vectors(f"{tmp_path}/x.npy", 2, standardize=False)
    data.setup()
    assert np.array_equal(data.images("train"), (rows() * SCALE).astype(np.float32)) and data.log_volume == 0
    assert torch.equal(data.restore(data.images("train")), data.images("train"))


def test_bits_and_samples_are_in_the_units_of_the_file(command, tmp_path):
    """The same data in other units: log-likelihoods lose the bits of the scale, and K - L_null does not change."""
    scores, samples = [], []
    for name, x in (("a", rows()), ("b", rows() * SCALE + OFFSET)):
        np.save(tmp_path / f"{name}.npy", x)
        command("fit", *QUICK, f"--data.file={tmp_path}/{name}.npy", f"--run.name={name}")
        command("predict", "-c", f"runs/{name}/config.yaml", "--ckpt_path=last", "--prediction.num_samples=16")
        scores.append(json.loads((tmp_path / f"runs/{name}/summary.json").read_text())["scores"])
        samples.append(np.load(tmp_path / f"runs/{name}/predict/samples.npz")["arr_0"])
    bits = np.log2(SCALE).sum()
    for score, change in {"K": -bits, "L_null": -bits, "K_minus_null": 0, "parzen_log_likelihood": -bits}.items():
        assert scores[1][score]["value"] - scores[0][score]["value"] == pytest.approx(change, abs=1e-4), score
        assert scores[1][score]["std"] == pytest.approx(scores[0][score]["std"], rel=1e-3)
    assert scores[1]["K"]["value"] == pytest.approx(-2 * scores[1]["bits_per_dim/test"]["value"], rel=1e-6)
    assert np.allclose(samples[1], samples[0] * SCALE + OFFSET, rtol=1e-4)
    split = json.loads((tmp_path / "runs/b/bits_per_dim/test.json").read_text())
    assert split["L_0"]["value"] + split["rate"]["value"] == pytest.approx(split["total"]["value"])
    assert scores[0]["K"]["protocol"]["log_volume"] == pytest.approx(math.log(1 / 3), abs=0.3)


@pytest.mark.parametrize("dimensions", [1, 7])
def test_vectors_of_any_length_are_trained_on_and_drawn(command, tmp_path, dimensions):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(100, dimensions)))
    command("fit", *QUICK[:-2], f"--data.file={tmp_path}/x.npy", f"--data.dimensions={dimensions}", "--run.name=x")
    drawn = {path.stem for path in (tmp_path / "runs/x/samples").glob("*.png")}
    assert drawn == {"data", "forward", "00000005_samples", "00000005_chain", "00000005_x_0"}
