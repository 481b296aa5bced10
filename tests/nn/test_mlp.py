"""The dense network: its computation, how it receives the time, and what it refuses."""

from functools import partial

import numpy as np
import pytest
import torch

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import BumpReadout, StepReadout, UNet, VectorMLP
from lit_diffusion.nn.embedding import sinusoidal_embedding
from tests.conftest import DIGITS

STEPS = partial(StepReadout, num_steps=7)
HEARTBEAT = {"width": 50, "depth": 3, "activation": "sigmoid", "time_width": 0}
FUNCTIONS = {"sigmoid": lambda h: 1 / (1 + np.exp(-h)), "tanh": np.tanh, "silu": lambda h: h / (1 + np.exp(-h))}
X, T = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 6, 3, 3, 1])


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("time_width", [0, 8])
@pytest.mark.parametrize("frequencies", [(), (2.0, 7.5)])
def test_network_is_dense_layers_of_its_features_and_a_readout(activation, time_width, frequencies, perturbed):
    torch.manual_seed(0)
    options = {"activation": activation, "time_width": time_width, "frequencies": frequencies}
    network = perturbed(VectorMLP(3, 2, width=4, depth=2, readout=STEPS, **options).double())
    x = X.double().numpy()
    h = [x]
    for f in frequencies:
        h += [np.sin(f * x), np.cos(f * x)]
    if time_width:
        h.append(sinusoidal_embedding(T, time_width).double().numpy())
    h = np.concatenate(h, axis=1)
    p = {name: parameter.detach().numpy() for name, parameter in network.named_parameters()}
    for layer in (0, 2):
        h = FUNCTIONS[activation](h @ p[f"layers.{layer}.weight"].T + p[f"layers.{layer}.bias"])
    expected = [p["readout.weight"][t] @ row + p["readout.bias"][t] for t, row in zip(T, h)]
    np.testing.assert_allclose(network(X.double(), T).detach().numpy(), expected, atol=1e-13)


def test_heartbeat_network_has_a_readout_for_each_of_its_2000_steps():
    """20 inputs, three layers of 50, 50 weights and a bias for each output and step."""
    with torch.device("meta"):
        network = VectorMLP(20, 20, **HEARTBEAT, readout=partial(StepReadout, num_steps=2000))
    layers = 20 * 50 + 50 + 2 * (50 * 50 + 50)
    assert sum(parameter.numel() for parameter in network.parameters()) == layers + 2000 * 20 * 51
    assert network.num_steps == 2000


def test_signals_pass_through_sigmoid_layers():
    """The last layer still varies with x after three sigmoids; weights that suit tanh would leave it 0.009."""
    torch.manual_seed(0)
    network = VectorMLP(20, 20, **HEARTBEAT, readout=STEPS)
    h = network.layers(torch.randn(1000, 20))
    assert 0.05 < h.std(0).mean() < 0.3


def test_gradient_reaches_all_layers_and_the_readouts_of_the_steps_asked_for_only(perturbed):
    torch.manual_seed(0)
    network = perturbed(VectorMLP(3, 2, width=4, time_width=0, readout=STEPS))
    network(X, T).square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.layers.parameters())
    assert network.readout.weight.grad.flatten(1).any(1).tolist() == [True, True, False, True, False, False, True]


@pytest.mark.parametrize(
    "options", [{}, {"time_width": 0, "readout": STEPS}, {"readout": partial(BumpReadout, num_steps=7)}]
)
def test_time_changes_every_output(options, perturbed):
    torch.manual_seed(0)
    network = perturbed(VectorMLP(3, 2, width=16, **options))
    assert ((network(X, T) - network(X, (T + 1) % 7)).abs().amax(1) > 1e-3).all()


def test_default_network_works_with_any_number_of_steps():
    assert not hasattr(VectorMLP(3, 2), "num_steps")


def test_fresh_network_returns_zero_and_a_seed_decides_it():
    torch.manual_seed(0)
    first = VectorMLP(3, 2)
    torch.manual_seed(0)
    second = VectorMLP(3, 2)
    assert not first(X, T).any()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_readout_is_chosen_in_a_configuration(parse):
    network = "--model.reverse.network"
    switch = [f"{network}=VectorMLP", f"{network}.readout=StepReadout", f"{network}.readout.num_steps=7"]
    cli = parse("-c", DIGITS, "--model.reverse.process.schedule.num_steps=7", *switch)
    built = cli.model.reverse.network
    assert isinstance(built, VectorMLP)
    assert built.readout.weight.shape == (7, 1, 32)


def test_network_compiles_as_one_graph(perturbed):
    torch.manual_seed(0)
    network = perturbed(VectorMLP(3, 2, frequencies=(2.0,), readout=STEPS))
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(X, T), network(X, T))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"width": 0}, "VectorMLP.width: expected 1 or more, got 0"),
        ({"depth": 0}, "VectorMLP.depth: expected 1 or more, got 0"),
        ({"activation": "relu"}, "VectorMLP.activation: expected one of sigmoid, tanh, silu; got relu"),
        ({"time_width": 7}, "VectorMLP.time_width: expected 0 or an even number >= 4, got 7"),
        ({"time_width": 2}, "VectorMLP.time_width: expected 0 or an even number >= 4, got 2"),
        ({"time_width": 0}, "VectorMLP.time_width: with 0 and SharedReadout nothing depends on t; use 32, or"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name_in_one_line(options, advice):
    with pytest.raises(ConfigError, match=f"^{advice}.*$"):
        VectorMLP(3, 2, **options)


def test_shapes_that_do_not_fit_are_refused_by_name():
    network = VectorMLP(20, 20)
    network.check_image_shape((20,))
    with pytest.raises(ConfigError, match=r"^expected vectors of 20 dimensions, .* got 2; give the model 2"):
        network.check_image_shape((2,))
    with pytest.raises(
        ConfigError, match=r"^expected vectors \(D,\) for VectorMLP, got .* shape \(1, 8, 8\); use UNet"
    ):
        network.check_image_shape((1, 8, 8))
    with pytest.raises(ConfigError, match=r"^expected images \(C, H, W\) for UNet, got examples of shape \(20,\); use"):
        UNet(1, 1, width=8, groups=4).check_image_shape((20,))
