"""Black and white digits are the grey ones, compared with the threshold."""

import pytest
import torch

from lit_diffusion.data import BinarizedDigits, Digits
from lit_diffusion.errors import ConfigError


@pytest.fixture(scope="module")
def digits():
    data = Digits()
    data.setup()
    return data


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("threshold", [0, 7, 15])
def test_levels_above_the_threshold_are_one_in_the_same_split(digits, split, threshold):
    data = BinarizedDigits(eval_batch_size=2_000, threshold=threshold)
    data.setup()
    (batch,) = data.eval_batches(split)
    assert data.num_levels == 2 and data.image_shape == (1, 8, 8) and data.images(split).dtype == torch.uint8
    assert torch.equal(batch == 1, digits.images(split) > threshold) and torch.equal(
        batch.abs(), torch.ones(1).expand_as(batch)
    )
    assert torch.equal(data.labels(split), digits.labels(split))


@pytest.mark.parametrize("threshold", [-1, 16])
def test_a_threshold_that_leaves_one_colour_is_refused(threshold):
    with pytest.raises(ConfigError, match=f"^threshold: expected 0 to 15 for levels 0..16, got {threshold}$"):
        BinarizedDigits(threshold=threshold)
