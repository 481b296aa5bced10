import pytest
import torch

from lit_diffusion.pixels import to_float, to_levels


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_every_level_survives_the_way_to_float_and_back(num_levels):
    levels = torch.arange(num_levels, dtype=torch.uint8)
    x = to_float(levels, num_levels)
    assert x.dtype == torch.float32
    assert x[0] == -1 and x[-1] == 1
    assert torch.equal(to_levels(x, num_levels), levels)


def test_256_levels_are_scaled_as_in_the_paper():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(levels, 256), levels.float() / 127.5 - 1)


def test_to_levels_takes_the_nearest_level_and_clamps_the_rest():
    x = torch.tensor([-7.0, -1 + 0.49 / 8, -1 + 0.51 / 8, 0.0, 7.0])
    assert to_levels(x, 17).tolist() == [0, 0, 1, 8, 16]


def test_scaling_leaves_its_argument_alone():
    levels, x = torch.tensor([3.0]), torch.tensor([0.5])
    to_float(levels, 17), to_levels(x, 17)
    assert levels.item() == 3 and x.item() == 0.5
