"""Diffusion in latents: an identity autoencoder gives the pixel model, a linear one a bound that is known."""

import math

import pytest
import torch
from torch import nn

from lit_diffusion.diffusion import (
    AncestralSampler,
    CleanImage,
    DDIMSampler,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    LinearSchedule,
    Simple,
    VariationalBound,
)
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.modules.latent_diffusion import LatentDiffusionModule
from lit_diffusion.modules.trained_autoencoder import Autoencoder
from lit_diffusion.seeding import seed_step

T = 8


class Identity(Autoencoder):
    """z = x_0, without noise."""

    def __init__(self, shape=(1, 4, 4)):
        super().__init__()
        self.shape = self.latent_shape = shape

    def encode(self, x_0):
        return Gaussian(x_0, torch.zeros_like(x_0))

    def outcome(self, z, generator=None):
        return z

    def reconstruction_nll(self, x_0, z):
        return torch.zeros(len(x_0))


class Line(Autoencoder):
    """z ~ N(0, 4) in one dimension, x_0 | z ~ N(z (1, 1), I / 2): q(z | x_0) is the exact posterior."""

    shape, latent_shape = (2,), (1,)
    PRIOR, NOISE = 4.0, 0.5

    def encode(self, x_0):
        variance = 1 / (1 / self.PRIOR + 2 / self.NOISE)
        return Gaussian(variance / self.NOISE * x_0.sum(1, keepdim=True), torch.full((len(x_0), 1), variance))

    def outcome(self, z, generator=None):
        return z.expand(-1, 2)

    def reconstruction_nll(self, x_0, z):
        error = ((x_0 - z) ** 2).sum(1)
        return error / (2 * self.NOISE) + math.log(2 * math.pi * self.NOISE)


class Pixels(nn.Module):
    """A fixed prediction for every pixel."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, index):
        return self.factor * x + 0.02 * (index + 1).view(-1, *[1] * (x.ndim - 1)).to(x)


class Exact(nn.Module):
    """E[x_0 | x_t] of x_0 ~ N(0, 1)."""

    def __init__(self, process):
        super().__init__()
        self.signal = process.schedule.alpha_bar(process.schedule.steps()).sqrt().float()

    def forward(self, x, index):
        return self.signal[index].view(-1, 1) * x


def reverse(network=Pixels, num_steps=T):
    process = GaussianProcess(LinearSchedule(num_steps, 0.02, 0.5))
    build = network if network is Pixels else lambda *_: network(process)
    return GaussianReverse(process, build, CleanImage(), decoder=GaussianDensity(), channels=1, clip_x_0=False)


def latent(autoencoder, scale=1.0, **options):
    return LatentDiffusionModule(autoencoder, reverse(**options), Simple(), AncestralSampler(), scale=scale)


@pytest.mark.parametrize("objective", [Simple, VariationalBound])
def test_with_an_identity_autoencoder_losses_and_samples_are_the_pixel_models(objective):
    x_0 = torch.randn(6, 1, 4, 4)
    ours = LatentDiffusionModule(Identity(), reverse(), objective(), AncestralSampler(), scale=1.0)
    theirs = DiffusionModule(reverse(), objective(), AncestralSampler())
    losses, samples = [], []
    for module in (ours, theirs):
        seed_step(3, torch.device("cpu"))
        losses.append(module.loss(x_0, None))
        for sampler in (None, DDIMSampler(4)):
            samples.append(module.draw((5, 1, 4, 4), module.sample_generator(2), sampler=sampler))
    assert torch.equal(*losses)
    assert torch.equal(samples[0], samples[2]) and torch.equal(samples[1], samples[3])
    assert not torch.equal(samples[0], samples[1])


def test_with_an_identity_autoencoder_the_bound_is_the_pixel_models_and_a_scale_cancels():
    """Up to the entropy of a point mass, which is left out here."""
    x_0, generator = torch.randn(7, 1, 4, 4), torch.Generator()
    bounds = []
    for module in (latent(Identity()), DiffusionModule(reverse(), Simple(), AncestralSampler())):
        bound = module.bound(None, 7, torch.device("cpu"))
        noisy = x_0
        if isinstance(module, LatentDiffusionModule):
            module.autoencoder.encode = lambda x: Gaussian(x, torch.full_like(x, 1e-12))
        generator.manual_seed(0)
        if not isinstance(module, LatentDiffusionModule):
            noisy = Gaussian(x_0, torch.full_like(x_0, 1e-12)).sample(generator)
        bound.add(noisy, None, range(7 * T), generator)
        bounds.append(bound)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 1e-12) / math.log(2)
    torch.testing.assert_close(bounds[0].per_example() + entropy, bounds[1].per_example(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_the_bound_of_a_linear_gaussian_model_tends_to_the_true_likelihood(scale):
    """With the exact posterior and, at scale 1/2, an exact denoiser; at 1/4 the denoiser is wrong, and it is above."""
    torch.manual_seed(0)
    count, num_steps = 4000, 200
    z = 2 * torch.randn(count, 1)
    x_0 = z + Line.NOISE**0.5 * torch.randn(count, 2)
    covariance = Line.PRIOR * torch.ones(2, 2) + Line.NOISE * torch.eye(2)
    true = -torch.distributions.MultivariateNormal(torch.zeros(2), covariance).log_prob(x_0).mean().item()
    module = latent(Line(), scale, network=Exact, num_steps=num_steps)
    bound = module.bound(20, count, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    for first in range(0, count, 500):
        bound.add(x_0[first : first + 500], None, range(20 * first, 20 * (first + 500)), generator)
    total = bound.scores()["bits_per_dim"].estimate
    parts = bound.terms()
    assert total.value == pytest.approx(sum(one.value for name, one in parts.items() if name != "total"))
    nats = total.value * 2 * math.log(2)
    gap = nats - true
    if scale == 0.5:
        assert abs(gap) < 0.05
    else:
        assert gap > 0.1


def test_the_scale_is_one_over_the_standard_deviation_of_the_latents():
    torch.manual_seed(0)
    x_0 = 2 * torch.randn(20_000, 1) + Line.NOISE**0.5 * torch.randn(20_000, 2)
    module = latent(Line(), None)
    assert module.scale.isnan()
    assert module.latent_std(x_0.split(700)) == pytest.approx(2, rel=0.02)
    with pytest.raises(ConfigError, match="expected latents that vary, but their standard deviation is 0"):
        latent(Identity(), None).latent_std([torch.ones(3, 1, 4, 4)])


def test_only_the_reverse_model_is_trained():
    autoencoder = Identity()
    autoencoder.weight = nn.Parameter(torch.ones(3))
    module = latent(autoencoder).train()
    (optimizer,) = module.build_optimizers()
    assert optimizer.param_groups[0]["params"] == [*module.reverse.parameters()]
    assert not autoencoder.weight.requires_grad and not autoencoder.training and module.reverse.training


def test_autoencoders_of_other_data_are_refused():
    autoencoder = Identity()
    autoencoder.data = "Digits"
    module = latent(autoencoder)
    module.check_data("Digits")
    with pytest.raises(ConfigError, match="expected an autoencoder of MNIST, got one that was trained on Digits"):
        module.check_data("MNIST")
    with pytest.raises(ConfigError, match=r"expected an autoencoder of examples of shape \[1, 8, 8\], got one of"):
        module.check((1, 8, 8), 17, None)
