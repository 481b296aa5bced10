"""Labels as inputs of networks: where they enter, how training drops them, what is refused."""

import copy

import pytest
import torch

from lit_diffusion.diffusion.network_reverse import NO_LABEL as OF_DIFFUSION
from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import ClassicUNet, MultiScaleNetwork, UNet, VectorMLP
from lit_diffusion.nn.labels import NO_LABEL

NETWORKS = {
    "UNet": lambda **more: UNet(1, 1, width=8, multipliers=[1, 2], num_blocks=1, groups=4, dropout=0.0, **more),
    "ClassicUNet": lambda **more: ClassicUNet(1, 1, width=4, levels=2, **more),
    "MultiScaleNetwork": lambda **more: MultiScaleNetwork(1, 1, num_steps=5, width=4, depth=2, scales=2, **more),
    "VectorMLP": lambda **more: VectorMLP(4, 4, width=8, **more),
}


@pytest.fixture(params=NETWORKS)
def build(request, perturbed):
    def built(**options):
        torch.manual_seed(0)
        return perturbed(NETWORKS[request.param](**options))

    return built


def example(network):
    torch.manual_seed(1)
    return torch.randn(5, *((4,) if isinstance(network, VectorMLP) else (1, 4, 4))), torch.arange(5)


def test_the_two_rooms_agree_on_what_stands_for_no_label():
    assert NO_LABEL == OF_DIFFUSION


def test_an_output_depends_on_its_own_label_only(build):
    network = build(num_classes=3)
    (x, t), label = example(network), torch.tensor([0, 1, 2, NO_LABEL, 1])
    output = network(x, t, label)
    other = network(x, t, torch.tensor([0, 1, 2, NO_LABEL, 0]))
    assert torch.equal(output[:4], other[:4]) and not torch.allclose(output[4], other[4])
    assert torch.equal(network(x, t), network(x, t, torch.full((5,), NO_LABEL)))
    outputs = [network(x[:1], t[:1], torch.tensor([c])) for c in (NO_LABEL, 0, 1, 2)]
    assert all(not torch.allclose(outputs[i], outputs[j]) for i in range(4) for j in range(i))


def test_the_embedding_of_a_label_is_added_to_that_of_the_time(perturbed):
    """Before the last swish, as in Improved DDPM: a class moves the bias of the time's last dense layer."""
    torch.manual_seed(0)
    network = perturbed(NETWORKS["UNet"](num_classes=3))
    plain = NETWORKS["UNet"]().eval()
    table = network.label.table.weight
    assert table.shape == (4, 32)  # the last is that of no label
    x, t = example(network)
    for label, row in ((0, 0), (2, 2), (NO_LABEL, 3)):
        state = copy.deepcopy({k: v for k, v in network.state_dict().items() if not k.startswith("label.")})
        state["time.dense2.bias"] += table[row]
        plain.load_state_dict(state)
        torch.testing.assert_close(network(x, t, torch.full((5,), label)), plain(x, t))


def test_training_drops_labels_at_the_given_rate(build):
    """Each is replaced by none with probability 0.25, from torch's global generator; evaluation drops none."""
    network = build(num_classes=3, label_dropout=0.25)
    (x, t), count = example(network), 4000
    x, t, label = x[:1].repeat(count, *[1] * (x.ndim - 1)), t[:1].repeat(count), torch.full((count,), 2)
    with torch.no_grad():
        none = network(x[:1], t[:1]).flatten()
        kept = network(x, t, label)
        torch.manual_seed(0)
        output = network.train()(x, t, label).flatten(1)
        torch.manual_seed(0)
        assert torch.equal(output, network(x, t, label).flatten(1))
    dropped = torch.isclose(output, none, atol=1e-6).all(1)
    assert abs(dropped.float().mean() - 0.25) < 4 * (0.25 * 0.75 / count) ** 0.5
    torch.testing.assert_close(output[~dropped], kept.flatten(1)[~dropped])


def test_a_network_without_labels_has_no_weights_for_them(build):
    assert not any("label" in name for name in build().state_dict())


@pytest.mark.parametrize(
    ("options", "label", "message"),
    [
        ({"num_classes": 3, "label_dropout": 0.0}, None, "expected a label for each example, since .* label_dropout 0"),
        ({"num_classes": 3}, torch.tensor([1, 2]), r"expected one label for each of 5 examples, got shape \(2,\)"),
        ({"num_classes": 0}, None, "num_classes: expected 1 or more, or null for no labels; got 0"),
        ({"num_classes": 3, "label_dropout": 1.0}, None, r"label_dropout: expected a number in \[0, 1\), got 1.0"),
    ],
)
def test_what_does_not_fit_is_refused(build, options, label, message):
    with pytest.raises(ConfigError, match=message):
        network = build(**options)
        network(*example(network), label)
