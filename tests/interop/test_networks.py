"""Imported networks compute what the originals compute, and no import leaves a weight out."""

import pytest
import torch
from diffusers import DDPMScheduler

from tests.interop.conftest import BEDROOM, CELEBAHQ, CIFAR10, SMALL, imported, unet_config
from tests.interop.originals import Weights, improved, released

# options of UNet2DModel one by one against the release's: heads of some channels, scale and shift, paddings, embeddings
VARIED = [
    {"attention_head_dim": 8},
    {"attention_head_dim": 16, "resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 32, "norm_eps": 1e-5},
    {"downsample_padding": 1},
    {"freq_shift": 0},
    {"flip_sin_to_cos": True},
    {"norm_num_groups": 8, "attn_norm_num_groups": 8, "act_fn": "swish"},
    {"layers_per_block": 3, "out_channels": 6},
]
DIGITS_RECIPE = ["-c", "configs/digits.yaml"]


@torch.no_grad()
def assert_same_outputs(theirs, ours, x, t):
    """To 1e-5 in float32 at every t and 1e-10 in float64 at every 50th, where outputs are of order 1."""
    for dtype, tolerance, every in ((torch.float32, 1e-5, 1), (torch.float64, 1e-10, 50)):
        theirs, ours = theirs.to(dtype), ours.to(dtype)
        for part, steps in zip(x[::every].to(dtype).split(100), t[::every].split(100)):
            expected = theirs(part, steps).sample
            assert 0.05 < expected.abs().max() < 10
            torch.testing.assert_close(ours(part, steps), expected, atol=tolerance, rtol=0)


@pytest.mark.slow
def test_cifar10s_network_equals_diffusers_at_every_t(folder_of, tmp_path):
    """google/ddpm-cifar10-32's configuration, all 1,000 steps; smaller images, of which the network knows nothing."""
    theirs, folder = folder_of(CIFAR10, DDPMScheduler(variance_type="fixed_large"))
    ours = imported(folder, tmp_path / "run")
    assert sum(p.numel() for p in ours.network.parameters()) == 35_746_307
    assert_same_outputs(theirs, ours.network, torch.randn(1000, 3, 8, 8), torch.arange(1000))


@pytest.mark.slow
@pytest.mark.parametrize(("config", "name"), [(CELEBAHQ, "ddpm-celebahq-256"), (BEDROOM, "ddpm-ema-bedroom-256")])
def test_networks_of_256_equal_diffusers_at_every_t(config, name, folder_of, tmp_path):
    """Six levels, attention at the fifth; the recipe is that of the data set in the name."""
    theirs, folder = folder_of(config, name=name)
    ours = imported(folder, tmp_path / "run")
    assert_same_outputs(theirs, ours.network, torch.randn(1000, 3, 32, 32), torch.arange(1000))


@pytest.mark.parametrize("options", VARIED, ids=lambda o: "-".join(o))
def test_every_option_that_is_taken_equals_diffusers(options, folder_of, tmp_path):
    """And its images in their own size."""
    config = unet_config([32, 64, 96], [1, 2], 16, **options)
    learned = "learned_range" if config.get("out_channels") == 6 else "fixed_small"
    theirs, folder = folder_of(config, DDPMScheduler(variance_type=learned))
    ours = imported(folder, tmp_path / "run", "-c", "configs/lsun_bedroom.yaml")
    assert_same_outputs(theirs, ours.network, torch.randn(50, 3, 16, 16), torch.arange(0, 1000, 20))


@pytest.mark.parametrize("how", [{"safe_serialization": False}, {"variant": None}], ids=["bin", "safetensors"])
def test_weights_come_over_bit_by_bit(how, folder_of, tmp_path):
    """From .bin and .safetensors."""
    theirs, folder = folder_of(SMALL, **how)
    ours = imported(folder, tmp_path / "run")
    state = {name.replace("to_out.0", "out"): weight for name, weight in theirs.state_dict().items()}
    assert len(state) == len(ours.network.state_dict())
    assert torch.equal(ours.network.stem.weight, state["conv_in.weight"])
    assert torch.equal(ours.network.middle[0].attention.out.weight, state["mid_block.attentions.0.out.weight"])
    assert sum(w.double().sum() for w in ours.network.state_dict().values()).item() == pytest.approx(
        sum(w.double().sum() for w in state.values()).item(), rel=1e-12
    )


@torch.no_grad()
def assert_same_as_function(function, network, shape):
    """To 1e-5 in float32; in float64 to 1e-10 at the first step and to 1e-6 at others, whose phases all code bases
    round to float32, in different orders.
    """
    t = torch.tensor([0, 1, 2, 10, 100, 500, 998, 999])
    x = torch.randn(len(t), *shape)
    expected = function(x, t)
    assert 0.1 < expected.abs().max() < 10
    torch.testing.assert_close(network(x, t), expected, atol=1e-5, rtol=0)
    x, network = x.double(), network.double()
    torch.testing.assert_close(network(x, t), function(x, t), atol=1e-6, rtol=0)
    torch.testing.assert_close(network(x[:1], t[:1]), function(x[:1], t[:1]), atol=1e-10, rtol=0)


@pytest.mark.parametrize("outputs", [3, 6])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_conversion_of_the_release_computes_what_the_release_does(outputs, prefix, tmp_path):
    """The shape of CIFAR10's network, narrower, by the original names; six outputs are a learned diagonal."""
    options = {"width": 32, "factors": (1, 2, 2, 2), "blocks": 2, "attends": (1,), "outputs": outputs}
    weights = Weights()
    released(weights, torch.zeros(1, 3, 16, 16), torch.zeros(1), **options)
    torch.save({prefix + name: w for name, w in weights.items()}, tmp_path / "model-790000.ckpt")
    ours = imported(tmp_path / "model-790000.ckpt", tmp_path / "run")
    assert type(ours.variance).__name__ == ("BetaVariance" if outputs == 3 else "LearnedDiagonal")
    assert_same_as_function(lambda x, t: released(weights, x, t, **options), ours.network, (3, 16, 16))


def test_conversion_of_a_256_model_of_the_release(tmp_path):
    options = {"width": 32, "factors": (1, 1, 2, 2, 4, 4), "blocks": 2, "attends": (4,), "outputs": 3}
    weights = Weights()
    released(weights, torch.zeros(1, 3, 32, 32), torch.zeros(1), **options)
    torch.save(dict(weights), tmp_path / "ema_lsun_church.ckpt")
    ours = imported(tmp_path / "ema_lsun_church.ckpt", tmp_path / "run")
    assert type(ours.variance).__name__ == "PosteriorVariance"
    assert_same_as_function(lambda x, t: released(weights, x, t, **options), ours.network, (3, 32, 32))


@pytest.mark.parametrize(
    ("scale_shift", "attends", "blocks", "config"),
    [(True, (1, 2), 3, "configs/iddpm/cifar10.yaml"), (False, (2,), 2, "configs/iddpm/lsun.yaml")],
    ids=["cifar10", "lsun"],
)
def test_improved_diffusion_computes_what_its_release_does(scale_shift, attends, blocks, config, tmp_path):
    """Several heads with scale and shift, T = 4000 with rescaled steps; and one head without either."""
    heads, time_scale = (4, 0.25) if scale_shift else (1, 1.0)
    options = {"width": 32, "factors": (1, 2, 2), "blocks": blocks, "attends": attends, "outputs": 6}
    options |= {"heads": heads, "scale_shift": scale_shift, "time_scale": time_scale}
    weights = Weights()
    improved(weights, torch.zeros(1, 3, 8, 8), torch.zeros(1), **options)
    torch.save(dict(weights), tmp_path / "iddpm.pt")
    base = "configs/cifar10.yaml" if scale_shift else "configs/lsun_bedroom.yaml"
    ours = imported(tmp_path / "iddpm.pt", tmp_path / "run", "-c", base, "-c", config)
    assert type(ours.variance).__name__ == "LearnedRange"
    assert (ours.num_steps, type(ours.process.schedule).__name__) == (
        (4000, "CosineSchedule") if scale_shift else (1000, "LinearSchedule")
    )
    assert_same_as_function(lambda x, t: improved(weights, x, t, **options), ours.network, (3, 8, 8))
