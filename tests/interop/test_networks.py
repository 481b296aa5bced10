"""Imported networks compute what the originals compute, and no import leaves a weight out."""

import json
import re
import shutil

import pytest
import torch
import yaml
from diffusers import DDPMScheduler
from safetensors.torch import save_file
from torch.nn import functional as F

from lit_diffusion.interop.diffusers.unet_config import NAMES
from tests.interop.conftest import CIFAR10, OF_256, SMALL, imported, unet_config
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
    """google/ddpm-cifar10-32's configuration; smaller images, of which the network knows nothing. What it knows of t is
    compared at all 1,000 steps, and what comes out of it at every fifth.
    """
    theirs, folder = folder_of(CIFAR10, DDPMScheduler(variance_type="fixed_large"))
    ours = imported(folder, tmp_path / "run")
    assert sum(p.numel() for p in ours.network.parameters()) == 35_746_307
    t = torch.arange(1000)
    known, expected = ours.network.time(t), F.silu(theirs.time_embedding(theirs.time_proj(t)))
    torch.testing.assert_close(known, expected, atol=1e-5, rtol=0)
    assert_same_outputs(theirs, ours.network, torch.randn(200, 3, 8, 8), t[4::5])


@pytest.mark.slow
def test_network_of_256_equals_diffusers_at_every_fifth_t(folder_of, tmp_path):
    """google/ddpm-celebahq-256's and google/ddpm-bedroom-256's, which are one: six levels, attention at the fifth."""
    theirs, folder = folder_of(OF_256, name="ddpm-bedroom-256")
    ours = imported(folder, tmp_path / "run")
    assert (
        yaml.safe_load((tmp_path / "run/config.yaml").read_text())["data"]["init_args"]["root"] == "data/lsun_bedroom"
    )
    assert_same_outputs(theirs, ours.network, torch.randn(200, 3, 32, 32), torch.arange(4, 1000, 5))


@pytest.mark.parametrize("options", VARIED, ids=lambda o: "-".join(o))
def test_every_option_that_is_taken_equals_diffusers(options, folder_of, tmp_path):
    """And its images in their own size."""
    config = unet_config([32, 64, 96], [1, 2], 16, **options)
    learned = "learned_range" if config.get("out_channels") == 6 else "fixed_small"
    theirs, folder = folder_of(config, DDPMScheduler(variance_type=learned))
    ours = imported(folder, tmp_path / "run", "-c", "configs/lsun_bedroom.yaml")
    assert_same_outputs(theirs, ours.network, torch.randn(50, 3, 16, 16), torch.arange(0, 1000, 20))


class Labelled(torch.nn.Module):
    """A network as a function of x and t alone, with given labels."""

    def __init__(self, network, label):
        super().__init__()
        self.network, self.label = network, label

    def forward(self, x, t):
        return self.network(x, t, self.label[: len(x)])


@torch.no_grad()
def test_labels_equal_diffusers(folder_of, tmp_path):
    """Every class of a network with num_class_embeds, which has none for "no label"."""
    theirs, folder = folder_of(unet_config([32, 64], [1], 16, num_class_embeds=5), DDPMScheduler())
    ours = imported(folder, tmp_path / "run", "-c", "configs/lsun_bedroom.yaml")
    assert (ours.num_classes, ours.knows_no_label) == (5, False)
    x, t, label = torch.randn(20, 3, 16, 16), torch.arange(0, 1000, 50), torch.arange(20) % 5
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        expected = theirs.to(dtype)(x.to(dtype), t, class_labels=label).sample
        torch.testing.assert_close(ours.network.to(dtype)(x.to(dtype), t, label), expected, atol=tolerance, rtol=0)
    other = theirs(x.double(), t, class_labels=(label + 1) % 5).sample
    assert (expected - other).abs().mean() > 0.01


@torch.no_grad()
def test_labels_equal_those_of_improved_diffusion(tmp_path):
    """A recipe with one class less than the embedding has rows says that the last row stands for no label."""
    options = {"width": 32, "factors": (1, 2), "blocks": 1, "attends": (1,), "outputs": 3}
    options |= {"heads": 1, "scale_shift": True, "time_scale": 1.0, "classes": 11}
    weights, label = Weights(), torch.tensor([0, 1, 2, 3, 4, 9, 10, 10])
    improved(weights, torch.zeros(1, 3, 8, 8), torch.zeros(1), **options, label=label[:1])
    torch.save(dict(weights), tmp_path / "cond.pt")
    network = {"class_path": "UNet", "init_args": {"num_classes": 10, "label_dropout": 0.2}}
    overlay = {"model": {"init_args": {"reverse": {"init_args": {"network": network}}}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
    for recipe, of_ours in (([], label), (["-c", str(tmp_path / "mine.yaml")], torch.where(label == 10, -1, label))):
        ours = imported(tmp_path / "cond.pt", tmp_path / f"run{len(recipe)}", "-c", "configs/cifar10.yaml", *recipe)
        assert (ours.num_classes, ours.knows_no_label) == ((10, True) if recipe else (11, False))
        assert_same_as_function(
            lambda x, t: improved(weights, x, t, **options, label=label[: len(x)]),
            Labelled(ours.network, of_ours),
            (3, 8, 8),
        )


FORMER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # diffusers up to 0.14


@pytest.mark.parametrize("names", ["today's", "former"])
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_weights_come_over_bit_by_bit(names, ending, folder_of, tmp_path):
    """From both kinds of files, by today's names of attention's parts and those of before."""
    theirs, folder = folder_of(SMALL, safe_serialization=ending == "safetensors")
    state = theirs.state_dict()
    if names == "former":
        file = folder / f"unet/diffusion_pytorch_model.{ending}"
        former = {re.sub("|".join(FORMER), lambda one: FORMER[one[0]], name): weight for name, weight in state.items()}
        save_file(former, file) if ending == "safetensors" else torch.save(former, file)
    ours = imported(folder, tmp_path / "run").network
    their = NAMES.map_names(ours)
    assert sorted(their.values()) == sorted(state)
    assert all(torch.equal(weight, state[their[name]]) for name, weight in ours.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_exactly(kind, folder_of, tmp_path):
    theirs, folder = folder_of(SMALL)
    half = {name: weight.to(kind) for name, weight in theirs.state_dict().items()}
    save_file(half, folder / "unet/diffusion_pytorch_model.safetensors")
    assert torch.equal(imported(folder, tmp_path / "run").network.stem.weight, half["conv_in.weight"].float())


# What google/ddpm-cat-256 says; written by diffusers 0.0.4 and 0.1.1, long before most of today's settings.
OLD_UNET = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.0.4",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [32, 32, 64, 64, 128, 128],  # times 4
    "center_input_sample": False,
    "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
}
OLD_SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.1.1",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "variance_type": "fixed_small",
}


@pytest.mark.parametrize("former", [{}, {"timestep_values": None, "tensor_format": "pt", "predict_epsilon": True}])
def test_flat_folders_of_the_first_versions_are_taken(former, folder_of, tmp_path):
    """All in one folder, few settings, and some that were removed since; the recipe is that of the folder's name."""
    _, folder = folder_of(OF_256)
    flat = tmp_path / "ddpm-ema-cat-256"
    flat.mkdir()
    shutil.copy(folder / "unet/diffusion_pytorch_model.safetensors", flat)
    (flat / "config.json").write_text(json.dumps(OLD_UNET))
    (flat / "scheduler_config.json").write_text(json.dumps({**OLD_SCHEDULER, **former}))
    ours = imported(flat, tmp_path / "run")
    assert type(ours.variance).__name__ == "PosteriorVariance"
    assert "data/lsun_cat" in (tmp_path / "run/config.yaml").read_text()


def test_without_a_scheduler_what_is_the_recipes_is_said(folder_of, tmp_path, capsys):
    _, folder = folder_of(SMALL)
    shutil.rmtree(folder / "scheduler")
    ours = imported(folder, tmp_path / "run")
    assert ours.num_steps == 1000
    said = "note       no scheduler_config.json: schedule, T, prediction and variance come from the recipe"
    assert said in capsys.readouterr().out


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


@pytest.mark.parametrize(("outputs", "prefix"), [(3, "module."), (6, "")])
def test_conversion_of_the_release_computes_what_the_release_does(outputs, prefix, tmp_path):
    """The shape of CIFAR10's network, narrower, by the original names; six outputs are a learned diagonal."""
    options = {"width": 32, "factors": (1, 2, 2, 2), "blocks": 2, "attends": (1,), "outputs": outputs}
    weights = Weights()
    released(weights, torch.zeros(1, 3, 16, 16), torch.zeros(1), **options)
    torch.save({prefix + name: w for name, w in weights.items()}, tmp_path / "model-790000.ckpt")
    ours = imported(tmp_path / "model-790000.ckpt", tmp_path / "run")
    assert type(ours.variance).__name__ == ("BetaVariance" if outputs == 3 else "LearnedDiagonal")
    assert_same_as_function(lambda x, t: released(weights, x, t, **options), ours.network, (3, 16, 16))


def test_recipe_of_another_network_does_not_change_the_release(tmp_path):
    """What names and shapes cannot tell is the release's own: padding, embedding, eps."""
    options = {"width": 32, "factors": (1, 2), "blocks": 1, "attends": (1,), "outputs": 3}
    weights = Weights()
    released(weights, torch.zeros(1, 3, 8, 8), torch.zeros(1), **options)
    torch.save(dict(weights), tmp_path / "model.ckpt")
    other = {"symmetric_padding": True, "norm_eps": 0.1, "cosines_first": True, "time_scale": 0.5, "head_channels": 8}
    network = {"class_path": "UNet", "init_args": other}
    overlay = {"model": {"init_args": {"reverse": {"init_args": {"network": network}}}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
    recipe = ["-c", "configs/cifar10.yaml", "-c", str(tmp_path / "mine.yaml")]
    ours = imported(tmp_path / "model.ckpt", tmp_path / "run", *recipe)
    assert_same_as_function(lambda x, t: released(weights, x, t, **options), ours.network, (3, 8, 8))


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
def test_improved_diffusion_computes_what_its_release_does(scale_shift, attends, blocks, config, tmp_path, capsys):
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
    said = f"T, schedule, num_heads ({heads}) and time_scale ({time_scale:g}) come from the recipe"
    assert said in capsys.readouterr().out
