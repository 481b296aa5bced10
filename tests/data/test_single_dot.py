"""One dot an image, every place equally often."""

import math

import pytest
import torch

from lit_diffusion.data import SingleDot
from lit_diffusion.errors import ConfigError


def ready(**arguments):
    data = SingleDot(**arguments)
    data.setup()
    return data


@pytest.mark.parametrize("height, width", [(8, None), (3, 5), (1, 2)])
@pytest.mark.parametrize("split, times", [("train", 3), ("test", 2)])
def test_every_image_has_one_dot_and_every_place_its_share(height, width, split, times):
    places = height * (width or height)
    images = ready(height=height, width=width, num_train=3 * places, num_test=2 * places).images(split)
    assert images.shape == (times * places, 1, height, width or height) and images.dtype == torch.uint8
    assert (images.flatten(1).sum(1) == 1).all() and (images.sum(0) == times).all()


def test_an_image_of_one_dot_has_log2_of_its_pixels_in_bits_and_any_other_no_probability():
    data = ready(eval_batch_size=64)
    x = next(iter(data.eval_batches("test")))
    assert torch.equal(data.log_density(x), torch.full((64,), -math.log(64), dtype=torch.float64))
    moved = x.clone()
    moved[0], moved[1, 0, :4, :] = -1, 1
    moved[2] = x[2] * 0.5
    assert data.log_density(moved[:3]).tolist() == [-math.inf] * 3


@pytest.mark.parametrize("options, message", [
    ({"num_train": 100}, "num_train: expected a multiple of the 64 pixels, got 100; use 128"),
    ({"num_test": -64}, "num_test: expected a multiple of the 64 pixels, got -64; use 0"),
    ({"height": 1, "width": 1}, "height: expected two pixels or more an image, got 1x1"),
    ({"height": 0}, "height: expected 1 or more, got 0"),
])  # fmt: skip
def test_counts_and_sizes_without_a_uniform_distribution_are_refused(options, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        SingleDot(**options)
