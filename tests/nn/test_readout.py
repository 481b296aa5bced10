"""Readouts against loops over steps, outputs and bumps."""

import math

import pytest
import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import BumpReadout, Readout, SharedReadout, StepReadout

T = torch.tensor([0, 4, 2, 4])


def readouts() -> list[Readout]:
    return [SharedReadout(3, 2), StepReadout(3, 2, num_steps=5), BumpReadout(3, 2, num_steps=5, num_bumps=4)]


def gaussian_bumps(t: int, num_steps: int, num_bumps: int, width: float) -> list[float]:
    """From the paper's formula, t in 1..T, centres evenly from 1 to T."""
    spacing = (num_steps - 1) / (num_bumps - 1)
    heights = [math.exp(-((t - 1 - j * spacing) ** 2) / (2 * (width * spacing) ** 2)) for j in range(num_bumps)]
    return [height / sum(heights) for height in heights]


@pytest.mark.parametrize("shape", [(), (2, 3)], ids=["vectors", "images"])
def test_step_readout_is_the_affine_map_of_its_step(shape, perturbed):
    torch.manual_seed(0)
    readout = perturbed(StepReadout(3, 2, num_steps=5).double())
    h = torch.randn(4, 3, *shape).double()
    expected = torch.zeros(4, 2, *shape).double()
    for b, t in enumerate(T):
        for o in range(2):
            expected[b, o] = readout.bias[t, o] + sum(readout.weight[t, o, f] * h[b, f] for f in range(3))
    torch.testing.assert_close(readout(h, T), expected, atol=1e-14, rtol=0)


def test_only_the_readouts_of_the_steps_asked_for_get_a_gradient(perturbed):
    readout = perturbed(StepReadout(3, 2, num_steps=5))
    readout(torch.ones(4, 3), T).sum().backward()
    for parameter in readout.parameters():
        asked = parameter.grad.flatten(1).any(1)
        assert asked.tolist() == [True, False, True, False, True]
        assert (parameter.grad[4] == 2).all()  # two examples of that step


@pytest.mark.parametrize(("num_steps", "num_bumps", "width"), [(1000, 10, 1.0), (40, 10, 0.5), (7, 2, 1.0)])
def test_bumps_are_normalised_gaussians_over_time(num_steps, num_bumps, width):
    readout = BumpReadout(1, 1, num_steps, num_bumps, width).double()
    expected = [gaussian_bumps(t, num_steps, num_bumps, width) for t in range(1, num_steps + 1)]
    bumps = readout.bumps(torch.arange(num_steps))
    torch.testing.assert_close(bumps, torch.tensor(expected, dtype=torch.float64), atol=1e-13, rtol=0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_bumps_tell_all_steps_apart_in_every_precision(precision):
    """bfloat16 has no integers between 1000 and 1004; what it rounds is the bumps, not the step."""
    readout = BumpReadout(1, 1, num_steps=1000)
    exact = readout.double().bumps(torch.arange(1000))
    rounded = readout.to(precision).bumps(torch.arange(1000))
    assert rounded.dtype == precision
    assert (rounded.double() - exact).abs().max() < 2 * torch.finfo(precision).eps


def test_bumps_of_a_single_step_are_finite():
    assert torch.isfinite(BumpReadout(1, 1, num_steps=1).bumps(torch.zeros(1, dtype=torch.long))).all()


@pytest.mark.parametrize("shape", [(), (2, 3)], ids=["vectors", "images"])
def test_bump_readout_weighs_the_coefficients_of_its_bumps(shape, perturbed):
    """z_{c,j} = W_j h + b_j, and the output sum_j z_{c,j} g_j(t), bump by bump."""
    torch.manual_seed(0)
    readout = perturbed(BumpReadout(3, 2, num_steps=5, num_bumps=4).double())
    h = torch.randn(4, 3, *shape).double()
    expected = torch.zeros(4, 2, *shape).double()
    for b, t in enumerate(T):
        for j, bump in enumerate(gaussian_bumps(int(t) + 1, 5, 4, 1.0)):
            z = torch.einsum("of,f...->o...", readout.weight[j], h[b])
            expected[b] += bump * (z + readout.bias[j].reshape(2, *[1] * len(shape)))
    torch.testing.assert_close(readout(h, T), expected, atol=1e-13, rtol=0)


def test_shared_readout_is_one_affine_map(perturbed):
    torch.manual_seed(0)
    readout = perturbed(SharedReadout(3, 2).double())
    h = torch.randn(4, 3).double()
    expected = (h[:, None] * readout.weight).sum(2) + readout.bias
    torch.testing.assert_close(readout(h, T), expected, atol=1e-14, rtol=0)
    assert readout.num_steps is None


@pytest.mark.parametrize("readout", readouts(), ids=lambda r: type(r).__name__)
def test_fresh_readout_returns_zero_and_learns(readout: nn.Module):
    """Training leaves zero: the first gradient moves every weight in use."""
    h: Tensor = torch.rand(4, 3) + 0.1
    out = readout(h, T)
    assert not out.any()
    out.sum().backward()
    assert all(parameter.grad.any() for parameter in readout.parameters())


@pytest.mark.parametrize(
    ("build", "advice"),
    [
        (lambda: StepReadout(3, 2, num_steps=0), "StepReadout.num_steps: expected 1 or more, got 0"),
        (lambda: BumpReadout(3, 2, num_steps=0), "BumpReadout.num_steps: expected 1 or more, got 0"),
        (lambda: BumpReadout(3, 2, 5, num_bumps=1), "BumpReadout.num_bumps: expected 2 or more, .* got 1"),
        (lambda: BumpReadout(3, 2, 5, bump_width=0), "BumpReadout.bump_width: expected a number above 0, got 0; use"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(build, advice):
    with pytest.raises(ConfigError, match=f"^{advice}"):
        build()
