"""What the DDPM U-Net is: its size, its computation and its behaviour as a network."""

import copy

import pytest
import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import UNet
from lit_diffusion.nn.blocks import Attention
from lit_diffusion.nn.embedding import sinusoidal_embedding

SMALL = {"width": 8, "multipliers": [1, 2], "num_blocks": 1, "attention_levels": [1], "groups": 4}
PAPER_256 = {"multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (4,), "dropout": 0.0}


@pytest.fixture
def network(perturbed) -> UNet:
    torch.manual_seed(0)
    return perturbed(UNet(3, 3, **SMALL))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(3, 3, 4, 8), torch.tensor([0, 500, 999])


@pytest.mark.parametrize(
    ("out_channels", "options", "count"), [(3, {}, 35_746_307), (6, {}, 35_749_766), (3, PAPER_256, 113_673_219)]
)
def test_parameters_number_as_in_the_release(out_channels, options, count):
    with torch.device("meta"):
        network = UNet(3, out_channels, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_network_is_the_loop_of_the_release(perturbed):
    """The release's forward pass, one flat list of skips, its conditions on the resolution, in float64."""
    torch.manual_seed(0)
    multipliers, num_blocks, resolutions = (1, 2, 2), 2, (4, 2)
    options = {"width": 8, "multipliers": multipliers, "num_blocks": num_blocks, "groups": 4}
    network = perturbed(UNet(2, 4, **options, attention_levels=(1, 2)).double())
    x, t = torch.randn(2, 2, 8, 8).double(), torch.tensor([7, 900])

    def block(path: str, h: Tensor, attention: bool) -> Tensor:
        h = network.get_submodule(f"{path}.residual")(h, time)
        return network.get_submodule(f"{path}.attention")(h) if attention else h

    time = sinusoidal_embedding(t, 8).double()
    for dense in (network.time.dense1, network.time.dense2):
        time = torch.nn.functional.silu(dense(time))
    skips = [network.stem(x)]
    for level in range(3):
        for i in range(num_blocks):
            h = block(f"down.{level}.stages.{i}", skips[-1], skips[-1].shape[2] in resolutions)
            skips.append(h)
        if level != 2:
            skips.append(network.down[level].downsample(skips[-1]))
    h = block("middle.1", block("middle.0", skips[-1], True), False)
    for step, level in enumerate((2, 1, 0)):
        for i in range(num_blocks + 1):
            h = block(f"up.{step}.stages.{i}", torch.cat([h, skips.pop()], dim=1), h.shape[2] in resolutions)
        if level != 0:
            h = network.up[step].upsample(h)
    assert not skips
    expected = network.head(torch.nn.functional.silu(network.norm(h)))
    torch.testing.assert_close(network(x, t), expected, atol=1e-12, rtol=0)


def test_patches_become_channels(perturbed):
    """Folding is the network without patches between a fold and an unfold; each output sees its whole neighbourhood."""
    torch.manual_seed(0)
    folding = perturbed(UNet(3, 6, **SMALL, patch_size=2).double())
    inner = UNet(12, 24, **SMALL).double().eval()
    inner.load_state_dict(folding.state_dict())
    x, t = torch.randn(2, 3, 8, 12).double(), torch.tensor([7, 900])
    blocks = x.view(2, 3, 4, 2, 6, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 12, 4, 6)
    expected = inner(blocks, t).view(2, 6, 2, 2, 4, 6).permute(0, 1, 4, 2, 5, 3).reshape(2, 6, 8, 12)
    torch.testing.assert_close(folding(x, t), expected, atol=1e-12, rtol=0)


def test_fresh_network_returns_nearly_zero(batch):
    torch.manual_seed(0)
    assert UNet(3, 3, **SMALL)(*batch).abs().max() < 1e-3


def test_head_channels_give_every_level_its_own_number_of_heads():
    network = UNet(3, 3, **{**SMALL, "attention_levels": [0, 1], "head_channels": 4})
    attentions = [module for module in network.modules() if isinstance(module, Attention)]
    assert [(one.query.in_features, one.num_heads) for one in attentions if one.query.in_features == 8] == [(8, 2)] * 3
    assert [one.num_heads for one in attentions if one.query.in_features == 16] == [4] * 4


def test_middle_attends_though_no_level_does():
    network = UNet(3, 3, **{**SMALL, "attention_levels": []})
    names = [name for name, _ in network.named_parameters() if name.endswith("query.weight")]
    assert names == ["middle.0.attention.query.weight"]


def test_time_changes_every_output(network, batch):
    x, t = batch
    assert ((network(x, t) - network(x, t + 1)).abs().amax((1, 2, 3)) > 1e-4).all()


def test_examples_do_not_see_each_other(network, batch):
    x, t = batch
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(network(x, t), alone, atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter(network, batch):
    network(*batch).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_dropout_acts_in_training_only(network, batch):
    assert torch.equal(network(*batch), network(*batch))
    network.train()
    assert not torch.equal(network(*batch), network(*batch))


def test_gradient_checkpointing_gives_the_same_gradients_from_fewer_kept_tensors(batch):
    """Bit by bit, with dropout, which draws the same again; and attention."""
    kept, results = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = UNet(3, 3, **SMALL, dropout=0.5, gradient_checkpointing=checkpointing)
        count = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(*batch)
        output.sum().backward()
        results.append([output, torch.rand(1), *(parameter.grad for parameter in network.parameters())])
        kept.append(count)
    assert all(torch.equal(one, other) for one, other in zip(*results))
    assert kept[1] < 0.3 * kept[0]


def test_input_is_left_as_it_was(network, batch):
    x, t = (tensor.clone() for tensor in batch)
    network(x, t)
    assert torch.equal(x, batch[0])
    assert torch.equal(t, batch[1])


def test_state_dict_and_copy_carry_the_whole_network(network, batch):
    torch.manual_seed(5)
    other = UNet(3, 3, **SMALL).eval()
    other.load_state_dict(network.state_dict())
    expected = network(*batch)
    assert torch.equal(other(*batch), expected)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        network.stem.weight.zero_()
    assert torch.equal(copied(*batch), expected)


def test_channels_last_and_autocast_change_only_the_rounding(network, batch):
    x, t = batch
    expected = network(x, t)
    scale = expected.abs().max()
    with torch.autocast("cpu", torch.bfloat16):
        assert (network(x, t).float() - expected).abs().max() < 0.05 * scale
    network = network.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    assert (network(x, t) - expected).abs().max() < 1e-5 * scale


def test_network_compiles_as_one_graph(network, batch):
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*batch), network(*batch))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"width": 24}, "UNet.groups: 32 groups do not divide width 24; set groups: 8"),
        ({"width": 9, "groups": 3}, "UNet.width: expected an even number >= 4, .* got 9"),
        ({"width": 0}, "UNet.width: expected 1 or more, got 0"),
        ({"num_blocks": 0}, "UNet.num_blocks: expected 1 or more, got 0"),
        ({"multipliers": []}, "UNet.multipliers: .* use, say"),
        ({"multipliers": [1, 0]}, "UNet.multipliers: .* use, say"),
        ({"attention_levels": [16]}, "UNet.attention_levels: expected levels from 0 to 3, got 16"),
        ({"attention_levels": [-1]}, "UNet.attention_levels: expected levels from 0 to 3, got -1"),
        ({"num_heads": 3}, "UNet.num_heads: 3 heads do not divide the 256 channels of level [13]; use 1"),
        ({"dropout": 1.0}, "UNet.dropout: expected a number in \\[0, 1\\), got 1.0"),
        ({"head_channels": 0}, "UNet.head_channels: expected 1 or more, got 0"),
        ({"head_channels": 96}, "UNet.head_channels: 96 do not divide the 256 channels of level [13]; use 32"),
        ({"head_channels": 64, "num_heads": 2}, "UNet.head_channels: num_heads also sets .* set one of the two"),
        ({"norm_eps": 0.0}, "UNet.norm_eps: expected a number above 0, got 0.0"),
        ({"time_scale": float("inf")}, "UNet.time_scale: expected a number above 0, got inf"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name_in_one_line(options, advice):
    with pytest.raises(ConfigError, match=f"^{advice}.*$") as refusal, torch.device("meta"):
        UNet(3, 3, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("shape", "option", "advice"),
    [
        (
            (3, 30, 32),
            "multipliers",
            "3 times, as 4 levels of UNet need, got 30x32; use 2 levels, or .* multiples of 8 ",
        ),
        ((3, 32, 28), "multipliers", "3 times, as 4 levels of UNet need, got 32x28; use 3 levels"),
        ((3, 7, 8), "multipliers", "got 7x8; use 1 level, or"),
        (
            (1, 32, 32),
            "channels",
            "expected images of 3 channels, for which UNet was built, got 1; give the model 1 channels",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused_by_name(shape, option, advice):
    """With the setting to change as the key that is to blame."""
    with torch.device("meta"):
        network = UNet(3, 3)
    network.check_image_shape((3, 32, 24))
    with pytest.raises(ConfigError, match=advice) as refusal:
        network.check_image_shape(shape)
    assert refusal.value.key.split(".")[-1] == option


@pytest.mark.parametrize(
    ("shape", "option", "advice"),
    [
        ((1, 27, 28), "patch_size", "divides the size of the images, 27x28, got 2; use 1"),
        ((1, 28, 30), "multipliers", "got 28x30 in patches of 2x2; use 1 level, or images of multiples of 4 pixels"),
    ],
)
def test_images_that_do_not_fit_patches_are_refused(shape, option, advice):
    network = UNet(1, 1, **SMALL, patch_size=2)
    network.check_image_shape((1, 28, 28))
    with pytest.raises(ConfigError, match=advice) as refusal:
        network.check_image_shape(shape)
    assert refusal.value.key.split(".")[-1] == option
