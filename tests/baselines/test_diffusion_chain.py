"""A diffusion model's parts as a hierarchical VAE: the same bound."""

import pytest
import torch

from lit_diffusion.baselines import DiffusionChain
from lit_diffusion.diffusion import (
    BernoulliReverse,
    BinomialProcess,
    DiscretizedGaussian,
    GaussianProcess,
    GaussianReverse,
    LinearSchedule,
)
from lit_diffusion.diffusion.bound import variational_bound
from lit_diffusion.nn import UNet, VectorMLP

STEPS = 6


def gaussian():
    schedule = LinearSchedule(STEPS, 0.01, 0.4)

    def network(i, o):
        return UNet(i, o, width=8, multipliers=(1,), groups=4, attention_levels=(), dropout=0.0)

    decoder = DiscretizedGaussian(17)
    return GaussianReverse(GaussianProcess(schedule), network, decoder=decoder, channels=1), (1, 4, 4)


def binomial():
    schedule = LinearSchedule(STEPS, 0.05, 0.5)
    return BernoulliReverse(BinomialProcess(schedule), lambda i, o: VectorMLP(i, o, width=16), channels=9), (9,)


@pytest.fixture(params=[gaussian, binomial], ids=["gaussian", "binomial"])
def chain(request):
    torch.manual_seed(0)
    reverse, shape = request.param()
    for parameter in reverse.parameters():  # a fresh network returns zero
        torch.nn.init.normal_(parameter, std=0.2)
    return DiffusionChain(reverse.double().eval(), shape), (torch.randint(0, 2, (64, *shape)) * 2 - 1).double()


def base_of_marginals(process, x_0, z):
    """The base draws with which q(x_t | x_0) gives the chain's z_1..z_T."""
    t = [torch.full((len(x_0),), step) for step in range(1, STEPS + 1)]
    if process.kind.__name__ == "Gaussian":
        return [process.eps(x_0, z_t, step) for z_t, step in zip(z, t)]
    return [torch.where(z_t > 0, 0.0, 1.0).double() for z_t in z]  # a uniform number below or above the rate


def test_its_bound_is_that_of_the_diffusion_model(chain, monkeypatch):
    """Term by term to 1e-5 at the same x_1..x_T: drawn by the chain here, by q(x_t | x_0) from the same noise there."""
    model, x_0 = chain
    base = [noise.double() for noise in model.draw_base(len(x_0), generator=torch.Generator().manual_seed(1))]
    _, z = model.walk(x_0, base)
    ours = model.bound(x_0, base)
    noise = iter(base_of_marginals(model.reverse.process, x_0, z))
    monkeypatch.setattr(model.kind, "draw_base", staticmethod(lambda like, generator=None: next(noise)))
    theirs = variational_bound(model.reverse, x_0)
    torch.testing.assert_close(ours.total, theirs.total, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.reconstruction_nll, theirs.reconstruction_nll, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.kl[:, :-1], theirs.diffusion_kl, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.kl[:, -1], theirs.prior_kl, atol=1e-5, rtol=0)
    assert ours.total.std() > 0.1


def test_log_ratios_of_the_chain_have_the_mean_of_the_bound(chain):
    """log p(x_0, z) - log q(z | x_0), which knows no q(z_{i-1} | z_i, x_0), estimates minus the same bound."""
    model, x_0 = chain
    x_0 = x_0[:8].repeat(100, *[1] * (x_0.ndim - 1))
    base = [noise.double() for noise in model.draw_base(len(x_0), generator=torch.Generator().manual_seed(2))]
    with torch.no_grad():
        bound, log_weight = model.weighted_bound(x_0, base)
    difference = log_weight + bound.total
    assert difference.mean().abs() < 4 * difference.std() / len(x_0) ** 0.5


def test_it_samples_as_the_ancestral_sampler_does(chain):
    """The same draws from x_T on, number for number."""
    from lit_diffusion.diffusion import AncestralSampler

    model, _ = chain
    model.float()
    ours = model.sample(3, torch.Generator().manual_seed(0))
    theirs = AncestralSampler()(model.reverse, (3, *model.shape), torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
