"""The shipped configurations are the experiments that they say they are."""

import pytest
import torch
from lightning.pytorch.loggers import WandbLogger

from lit_diffusion.diffusion import (
    BetaVariance,
    CosineSchedule,
    Epsilon,
    LearnedRange,
    LinearSchedule,
    PosteriorMean,
    PosteriorVariance,
    Simple,
    VariationalBound,
)
from tests.conftest import CONFIGS, DIGITS, TINY

# quick.yaml is an overlay for all of them; digits_latent.yaml is tested where its autoencoder is trained
COMPLETE = sorted({*CONFIGS.glob("*.yaml")} - {CONFIGS / "quick.yaml", CONFIGS / "digits_latent.yaml"})
APART = ("conditional", "dpm2015", "iddpm", "speed")
OVERLAYS = sorted(path for path in CONFIGS.glob("*/*.yaml") if path.parent.name not in APART)
DPM2015 = sorted(CONFIGS.glob("dpm2015/*_network.yaml"))
# what needs no download logs without an account, too
OFFLINE = {
    *("digits", "binarized_digits", "fashion_mnist", "fashion_mnist_small", "photos"),
    *("heartbeat", "single_dot", "swiss_roll", "dead_leaves", "texture", "vectors", "binary_sequences"),
    *("digits_autoencoder", "digits_vae", "digits_hierarchical_vae", "swiss_roll_vae", "fashion_mnist_vae"),
    *("digits_gan", "swiss_roll_gan", "fashion_mnist_gan"),
    "swiss_roll_hierarchical_vae",
}


def camel(name: str) -> str:
    return name.replace("_", "").lower()


@pytest.mark.parametrize("path", COMPLETE, ids=lambda p: p.stem)
def test_every_shipped_configuration_builds_a_model_that_fits_its_data(path, parse):
    """Channels and levels of model and data agree, and the network takes images of that shape."""
    cli = parse("-c", str(path))
    if cli.model.has_reverse:  # whose check would evaluate networks for images of 256x256
        assert cli.model.reverse.channels == cli.datamodule.image_shape[0]
        cli.model.reverse.check_levels(cli.datamodule.num_levels)
        cli.model.reverse.network.check_image_shape(cli.datamodule.image_shape)
    else:
        cli.model.check(cli.datamodule.image_shape, cli.datamodule.num_levels, None)
        cli.model.check_trainer(cli.trainer, cli.datamodule.batch_size)
    wandb = [logger for logger in cli.trainer.loggers if isinstance(logger, WandbLogger)]
    assert [logger._offline for logger in wandb] == [path.stem in OFFLINE]


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_overlay_on_digits_trains_what_its_name_says(path, parse):
    """The class that the file is named after is in the model, and a loss is finite with finite gradients."""
    cli = parse(*TINY[:2], "-c", str(path), "--data.batch_size=1", "--model.reverse.process.schedule.num_steps=100")
    model = cli.model
    parts = [
        model.objective,
        model.sampler,
        model.objective.timesteps,
        getattr(model.objective, "weighting", None),
        model.reverse.parameterization,
        model.reverse.variance,
        model.reverse.process.schedule,
        model.reverse.network,
    ]
    names = " ".join(type(part).__name__.lower() for part in parts)
    for word in path.stem.rstrip("0123456789").replace("variational_bound_", "variational_bound ").split():
        assert camel(word) in names or (word == "times_t" and model.objective.scale == "times_T")
    torch.manual_seed(0)
    loss = model.objective(model.reverse, torch.rand(2, 1, 8, 8) * 2 - 1)
    loss.mean().backward()
    assert torch.isfinite(loss).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("path", DPM2015, ids=lambda p: p.stem)
def test_every_network_of_the_2015_paper_trains_over_the_file_that_it_is_named_after(path, parse):
    """X_network.yaml over X.yaml, image_network.yaml over any images; T is the schedule's, also on the command line."""
    name = path.stem.removesuffix("_network")
    for base in ["digits", "dead_leaves", "texture"] if name == "image" else [name]:
        start = ".start" if base == "swiss_roll" else ""  # whose schedule is learned
        steps = f"--model.reverse.process.schedule{start}.num_steps=30"
        cli = parse("-c", f"{CONFIGS}/{base}.yaml", "-c", str(path), steps, "--data.batch_size=4")
        reverse = cli.model.reverse
        assert reverse.network.readout.num_steps == reverse.num_steps == 30
        cli.model.reverse.check(cli.datamodule.image_shape, cli.datamodule.num_levels)
        torch.manual_seed(0)
        x_0 = torch.rand(4, *cli.datamodule.image_shape).round() * 2 - 1
        cli.model.objective(reverse, x_0).mean().backward()
        gradients = [p.grad for p in reverse.network.readout.parameters()]
        assert all(torch.isfinite(g).all() for g in gradients) and any(g.abs().max() > 0 for g in gradients)


def test_the_heartbeats_network_is_the_papers(parse):
    """Three layers of 50 sigmoid units, and 20 rates from them at each of 2,000 steps."""
    network = parse("-c", f"{CONFIGS}/heartbeat.yaml", "-c", f"{CONFIGS}/dpm2015/heartbeat_network.yaml")
    network = network.model.reverse.network
    sizes = [(m.in_features, m.out_features) for m in network.layers if isinstance(m, torch.nn.Linear)]
    assert sizes == [(20, 50), (50, 50), (50, 50)]
    assert sum(isinstance(m, torch.nn.Sigmoid) for m in network.layers) == 3
    assert network.readout.weight.shape == (2000, 20, 50)


def test_cifar10_is_the_papers_recipe(parse):
    """Every value of Ho et al. 2020, appendix B and code; PAPERS' parameter count."""
    cli = parse("-c", f"{CONFIGS}/cifar10.yaml")
    model, trainer = cli.model, cli.trainer
    model.trainer = trainer
    reverse, network = model.reverse, model.reverse.network
    assert sum(p.numel() for p in network.parameters()) == 35_746_307
    assert all(m.p == 0.1 for m in network.modules() if isinstance(m, torch.nn.Dropout))
    schedule = reverse.process.schedule
    assert (type(schedule), schedule.num_steps) == (LinearSchedule, 1000)
    betas = schedule.beta(schedule.steps(), schedule.steps() - 1)
    torch.testing.assert_close(betas[[0, -1]], torch.tensor([1e-4, 0.02], dtype=torch.float64))
    assert (type(reverse.parameterization), type(reverse.variance)) == (Epsilon, BetaVariance)
    assert type(model.objective) is Simple
    assert reverse.clip_x_0
    assert model.sampler.steps is None
    configured = model.configure_optimizers()
    optimizer, warmup = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.Adam)
    assert (group["initial_lr"], group["eps"], group["betas"], group["weight_decay"]) == (2e-4, 1e-8, (0.9, 0.999), 0)
    assert [warmup.lr_lambdas[0](step) for step in (0, 2500, 5000, 800_000)] == [0, 0.5, 1, 1]
    assert configured["lr_scheduler"]["interval"] == "step"
    assert (cli.datamodule.batch_size, cli.datamodule.flip) == (128, True)
    assert (trainer.gradient_clip_val, trainer.max_steps, trainer.accumulate_grad_batches) == (1.0, 800_000, 1)
    assert [c.decay for c in trainer.callbacks if hasattr(c, "decay")] == [0.9999]


def test_256_pixel_models_are_the_releases(parse):
    """113,673,219 parameters, small variance, learning rate 2e-5, batches of 64."""
    cli = parse("-c", f"{CONFIGS}/celebahq.yaml")
    assert sum(p.numel() for p in cli.model.reverse.network.parameters()) == 113_673_219
    assert type(cli.model.reverse.variance) is PosteriorVariance
    assert cli.model.optimizer([torch.zeros(1, requires_grad=True)]).param_groups[0]["lr"] == 2e-5
    assert cli.datamodule.batch_size == 64


def test_one_word_on_the_command_line_is_another_experiment(parse):
    """Short names without init_args; what is shared stays."""
    assert (
        type(parse(*TINY, "--model.reverse.parameterization=PosteriorMean").model.reverse.parameterization)
        is PosteriorMean
    )
    schedule = parse(*TINY, "--model.reverse.process.schedule=CosineSchedule").model.reverse.process.schedule
    assert (type(schedule), schedule.num_steps) == (CosineSchedule, 7)


def test_the_networks_channels_follow_the_variance(parse):
    """A change of variance alone doubles the output channels."""
    bound = ["-c", f"{CONFIGS}/objective/variational_bound.yaml"]
    fixed = parse(*TINY, *bound).model.reverse
    learned = parse(*TINY, *bound, "--model.reverse.variance=LearnedRange").model.reverse
    assert type(learned.variance) is LearnedRange
    assert learned.network.head.out_channels == 2 * fixed.network.head.out_channels == 2


def test_an_override_on_the_command_line_reaches_interpolations(parse, tmp_path):
    """`${...}` in an overlay takes the value that the command line sets, not the file's."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("model: {init_args: {sampler: {init_args: {steps: '${data.init_args.batch_size}'}}}}\n")
    assert parse(*TINY, "-c", str(overlay), "--data.batch_size=5").model.sampler.steps == 5


def test_an_overlay_combines_with_single_choices(parse):
    """Files and options apply in order, the later ones last."""
    overlay = f"{CONFIGS}/objective/variational_bound_times_t.yaml"
    model = parse("-c", DIGITS, "-c", overlay, "--model.objective.scale=per_term").model
    assert (type(model.objective), model.objective.scale) == (VariationalBound, "per_term")


@pytest.mark.parametrize(("base", "heads", "steps"), [("cifar10", 4, 4000), ("lsun_bedroom", 1, 1000)])
def test_overlays_of_improved_ddpm_are_its_networks_and_objective(base, heads, steps, parse):
    """L_hybrid with a learned range; the embedding of t runs to 1,000 for any T."""
    cli = parse("-c", f"{CONFIGS}/{base}.yaml", "-c", f"{CONFIGS}/iddpm/{base.split('_')[0]}.yaml")
    reverse = cli.model.reverse
    assert isinstance(reverse.variance, LearnedRange)
    assert reverse.num_steps == steps
    assert reverse.network.time.time_scale * reverse.num_steps == 1000
    assert reverse.network.middle[0].attention.num_heads == heads
    cli.model.reverse.network.check_image_shape(cli.datamodule.image_shape)


def test_learned_range_network_of_improved_ddpm_has_its_size(parse):
    """The 50M of its released file's name, on CIFAR10."""
    cli = parse("-c", f"{CONFIGS}/cifar10.yaml", "-c", f"{CONFIGS}/iddpm/cifar10.yaml")
    assert sum(p.numel() for p in cli.model.reverse.parameters()) == 52_546_438
