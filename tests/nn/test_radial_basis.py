"""The radial basis network against its formula."""

import math

import pytest
import torch

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import RadialBasisNetwork

X, T = torch.randn(4, 2, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 39, 7, 7])


@pytest.fixture
def network(perturbed) -> RadialBasisNetwork:
    torch.manual_seed(0)
    return perturbed(RadialBasisNetwork(2, 3, num_steps=40, num_units=5))


def test_network_is_normalised_bumps_and_the_readout_of_the_step(network):
    network = network.double()
    x = X.double()
    for b, t in enumerate(T):
        heights = []
        for centre, log_width in zip(network.centres.tolist(), network.log_widths.tolist()):
            distance = sum((a - c) ** 2 for a, c in zip(x[b].tolist(), centre))
            heights.append(math.exp(-distance / (2 * math.exp(log_width) ** 2)))
        phi = torch.tensor(heights, dtype=torch.float64) / sum(heights)
        expected = network.readout.weight[t] @ phi + network.readout.bias[t]
        torch.testing.assert_close(network(x, T)[b], expected, atol=1e-13, rtol=0)


def test_far_from_all_centres_the_basis_is_finite_and_sums_to_one(network):
    """Every exponential underflows in float32 there; the nearest centre wins, as in float64."""
    with torch.no_grad():
        network.log_widths.fill_(-2.0)
    far = torch.tensor([[300.0, -200.0], [0.0, 1e6]])
    basis = network.basis(far)
    torch.testing.assert_close(basis.sum(1), torch.ones(2))
    torch.testing.assert_close(basis[0], network.double().basis(far.double())[0].float(), atol=1e-3, rtol=0)
    assert torch.isfinite(basis).all()


def test_swiss_roll_network_has_16_units_and_40_readouts():
    network = RadialBasisNetwork(2, 4, num_steps=40)
    assert sum(parameter.numel() for parameter in network.parameters()) == 16 * (2 + 1) + 40 * 4 * (16 + 1)
    assert network.num_steps == 40


def test_gradient_reaches_centres_widths_and_the_readouts_of_the_steps_asked_for_only(network):
    network(X, T).square().sum().backward()
    assert network.centres.grad.all()
    assert network.log_widths.grad.all()
    assert network.readout.weight.grad.flatten(1).any(1).nonzero().flatten().tolist() == [0, 7, 39]


def test_fresh_network_returns_zero_and_a_seed_decides_its_centres():
    torch.manual_seed(0)
    first = RadialBasisNetwork(2, 4, num_steps=40, num_units=10_000)
    torch.manual_seed(0)
    assert torch.equal(first.centres, RadialBasisNetwork(2, 4, num_steps=1, num_units=10_000).centres)
    assert not first(X, T).any()
    assert first.centres.mean().item() == pytest.approx(0, abs=0.03)
    assert first.centres.std().item() == pytest.approx(1, abs=0.03)


def test_network_compiles_as_one_graph(network):
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(X, T), network(X, T))


def test_what_does_not_fit_is_refused_by_name(network):
    network.check_image_shape((2,))
    with pytest.raises(ConfigError, match=r"^expected vectors of 2 dimensions, .* got 3; give"):
        network.check_image_shape((3,))
    with pytest.raises(ConfigError, match=r"^expected vectors \(D,\) for RadialBasisNetwork, got .* \(2, 8, 8\); use"):
        network.check_image_shape((2, 8, 8))
    for option in ("num_steps", "num_units"):
        with pytest.raises(ConfigError, match=f"^RadialBasisNetwork.{option}: expected 1 or more, got 0"):
            RadialBasisNetwork(2, 4, **{"num_steps": 40, option: 0})
