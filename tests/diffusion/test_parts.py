"""A network gets a large batch in parts that a processor's caches hold, with the same result."""

import math

import pytest
import torch

from lit_diffusion.diffusion.parts import PIXELS_PER_THREAD, in_parts, part_size
from lit_diffusion.nn import UNet

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((500, 1, 8, 8), 63),  # eight parts, not seven of 64 and one of 52
        ((64, 1, 8, 8), 64),
        ((10, 3, 32, 32), 4),
        ((4, 3, 256, 256), 1),  # one is too many, but there is no less
        ((5000, 2), 2500),  # vectors: a pixel each
        ((0, 1, 8, 8), 0),
    ],
)
def test_a_part_has_so_many_pixels_that_caches_hold_its_feature_maps(shape, size):
    assert part_size(shape, CPU) == size
    assert size * math.prod(shape[2:]) <= PIXELS_PER_THREAD or size == 1
    assert part_size(shape, torch.device("cuda")) == shape[0]


def test_a_number_of_half_the_memory_makes_parts_of_twice_the_size():
    with torch.autocast("cpu", torch.bfloat16):
        assert part_size((500, 1, 8, 8), CPU) == 125
    assert part_size((500, 1, 8, 8), CPU, torch.float64) == 32


def test_the_parts_make_the_whole():
    torch.manual_seed(0)
    network = UNet(1, 2, width=8, multipliers=[1, 2], num_blocks=1, attention_levels=[1], dropout=0.0, groups=4)
    for parameter in network.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)  # the last layer starts at zero
    x, index = torch.randn(150, 1, 8, 8), torch.randint(0, 1000, (150,))
    calls = []
    network.register_forward_hook(lambda module, arguments, output: calls.append(len(output)))
    whole = in_parts(network, x, index)
    with torch.no_grad():
        torch.testing.assert_close(in_parts(network, x, index), whole, rtol=0, atol=1e-6)
    assert calls == [150, 50, 50, 50]
