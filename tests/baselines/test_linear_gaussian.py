"""Linear-Gaussian VAEs against the closed forms of probabilistic PCA (Tipping & Bishop 1999)."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from lit_diffusion.baselines import VAE, GaussianLikelihood, HierarchicalVAE, importance_weighted_nll
from lit_diffusion.nn import DenseNetwork

D, LATENTS, NOISE = 5, 2, 0.3


def affine(in_shape, out_shape):
    return DenseNetwork(in_shape, out_shape, depth=0)


def linear_vae(latent_shapes=((LATENTS,),)):
    likelihood = GaussianLikelihood(None, min_scale=1e-6)
    return HierarchicalVAE(affine, affine, affine, likelihood, (D,), latent_shapes).double()


def orthogonal_columns(rows, columns, seed):
    """A matrix (rows, columns) with orthogonal columns, so that posteriors are diagonal."""
    q, _ = torch.linalg.qr(torch.randn(rows, rows, generator=torch.Generator().manual_seed(seed), dtype=torch.double))
    return q[:, :columns] * torch.linspace(1.5, 0.7, columns, dtype=torch.double)


@pytest.fixture(scope="module")
def data():
    """4,000 draws of x = W z + noise."""
    generator, w = torch.Generator().manual_seed(1), orthogonal_columns(D, LATENTS, seed=2)
    z, eps = (torch.randn(4000, size, generator=generator, dtype=torch.double) for size in (LATENTS, D))
    return z @ w.T + NOISE * eps + 0.4


@torch.no_grad()
def set_affine(network, weight, bias):
    network.layers[-1].weight.copy_(weight)
    network.layers[-1].bias.copy_(bias)


def set_posterior(gaussian_network, weight, bias, variance):
    """q = N(weight x + bias, variance)."""
    weight = torch.cat([weight, torch.zeros_like(weight)])
    set_affine(gaussian_network.network, weight, torch.cat([bias, variance.log()]))


@torch.no_grad()
def set_noise(model, noise):
    lowest = model.likelihood._lowest
    above = math.log(noise) - lowest
    model.likelihood.log_scale.fill_(lowest + above + math.log(-math.expm1(-above)))


def sigma_points(n):
    """The 2 n points at which the mean of a quadratic function equals that over n standard normal numbers."""
    return math.sqrt(n) * torch.cat([torch.eye(n), -torch.eye(n)]).double()


def expected_bound(model, x_0):
    """Minus the ELBO of each example, (B,), its mean over the latents taken exactly: it is quadratic in eps."""
    return torch.stack([model.bound(x_0, [eps.expand(len(x_0), -1)]).total for eps in sigma_points(LATENTS)]).mean(0)


@pytest.fixture(scope="module")
def trained(data):
    """A linear VAE after training on the exact mean of its ELBO."""
    torch.manual_seed(0)
    model = linear_vae()
    optimizer = torch.optim.LBFGS(
        model.parameters(), lr=1, max_iter=400, history_size=30, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = expected_bound(model, data).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return model.requires_grad_(False)


def most_likely(data):
    """The largest mean log-likelihood that LATENTS dimensions and noise allow  (Tipping & Bishop 1999, eq. 8)."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(data.T, correction=0)).flip(0)
    kept, noise = eigenvalues[:LATENTS], eigenvalues[LATENTS:].mean()
    log_det = kept.log().sum() + (D - LATENTS) * noise.log()
    return -0.5 * (D * math.log(2 * math.pi) + log_det + D)


def test_training_reaches_the_closed_form_of_probabilistic_pca(trained, data):
    """The ELBO's best value is the best log-likelihood: both within 1e-3 nats, the gap to log p(x) is zero."""
    elbo = -expected_bound(trained, data).mean()
    assert elbo.item() == pytest.approx(most_likely(data).item(), abs=1e-3)
    w, b = trained.decoder.layers[-1].weight, trained.decoder.layers[-1].bias
    variance = trained.likelihood.gaussian(b[None]).variance[0, 0]
    p = MultivariateNormal(b, w @ w.T + variance * torch.eye(D).double())
    torch.testing.assert_close(-expected_bound(trained, data), p.log_prob(data), atol=1e-3, rtol=0)
    importance = importance_weighted_nll(trained, data, 64, torch.Generator().manual_seed(0))
    assert -importance.mean().item() == pytest.approx(p.log_prob(data).mean().item(), abs=1e-3)


def exact_model():
    """The model that made the data, with the true posterior as its encoder."""
    model, w = linear_vae(), orthogonal_columns(D, LATENTS, seed=2)
    precision = (w**2).sum(0) / NOISE**2 + 1
    set_affine(model.decoder, w, torch.full((D,), 0.4, dtype=torch.double))
    set_noise(model, NOISE)
    weight = w.T / NOISE**2 / precision[:, None]
    set_posterior(model.encoder, weight, -0.4 * weight.sum(1), 1 / precision)
    return model.requires_grad_(False), MultivariateNormal(
        torch.full((D,), 0.4, dtype=torch.double), w @ w.T + NOISE**2 * torch.eye(D).double()
    )


def test_with_the_true_posterior_every_draw_weighs_log_p(data):
    """log p(x, z) - log q(z | x) is log p(x) for any z, and so are the ELBO and the importance-weighted bound."""
    model, p = exact_model()
    x = data[:100]
    for seed in range(3):
        base = model.draw_base(len(x), generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(model.weighted_bound(x, base)[1], p.log_prob(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(-expected_bound(model, x), p.log_prob(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(-importance_weighted_nll(model, x, 5), p.log_prob(x), atol=1e-6, rtol=0)


def test_the_importance_weighted_bound_rises_with_k_to_the_truth(data):
    """With an encoder that is off, k = 1 is the ELBO, 64 is above it and within 1e-3 of the mean log p(x)."""
    model, p = exact_model()
    last = model.encoder.network.layers[-1]
    last.bias[:LATENTS] += 0.02
    last.bias[LATENTS:] += 0.15  # standard deviations 8% too large
    x = data.repeat(10, 1)
    truth = p.log_prob(data).mean().item()
    bounds = [-importance_weighted_nll(model, x, k, torch.Generator().manual_seed(k)).mean().item() for k in (1, 4, 64)]
    assert bounds[0] == pytest.approx(-expected_bound(model, data).mean().item(), abs=5e-3)
    assert bounds[0] < bounds[1] - 2e-3 < bounds[2] - 4e-3 < truth
    assert bounds[2] == pytest.approx(truth, abs=1e-3)


def test_terms_are_those_of_torch_distributions(data):
    """KL and E_q[-log p(x|z)] of an untrained model."""
    torch.manual_seed(3)
    model, x = linear_vae(), data[:50]
    mean, log_variance = model.encoder.network(x).chunk(2, 1)
    std = (log_variance / 2).exp()
    bound = model.bound(x, [torch.zeros(50, LATENTS)])
    torch.testing.assert_close(bound.kl[:, 0], kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum(1))
    by_hand = 0.5 * (mean**2 + std**2 - 2 * std.log() - 1).sum(1)
    torch.testing.assert_close(bound.kl[:, 0], by_hand)
    density = Normal(model.decoder(mean), model.likelihood.gaussian(x).variance.sqrt())
    torch.testing.assert_close(bound.reconstruction_nll, -density.log_prob(x).sum(1))


def test_two_layers_with_true_posteriors_weigh_log_p(data):
    """x = W z_1 + noise, z_1 = V z_2 + noise: log p(x) is that of one Gaussian, whatever the draw of z_1 and z_2."""
    model = linear_vae(((2,), (1,)))
    w, v, noise_1 = orthogonal_columns(D, 2, seed=4), torch.tensor([[0.8], [0.0]]).double(), 0.5
    p_z1 = v @ v.T + noise_1**2 * torch.eye(2).double()  # diagonal
    set_affine(model.decoder, w, torch.zeros(D))
    set_noise(model, NOISE)
    set_posterior(model.down[0], v, torch.zeros(2), torch.full((2,), noise_1**2).double())
    precision = (w**2).sum(0) / NOISE**2 + 1 / p_z1.diagonal()
    set_posterior(model.encoder, w.T / NOISE**2 / precision[:, None], torch.zeros(2), 1 / precision)
    precision = (v**2).sum(0) / noise_1**2 + 1
    set_posterior(model.up[0], v.T / noise_1**2 / precision[:, None], torch.zeros(1), 1 / precision)
    p = MultivariateNormal(torch.zeros(D).double(), w @ p_z1 @ w.T + NOISE**2 * torch.eye(D).double())
    x = data[:200]
    base = model.draw_base(len(x), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.weighted_bound(x, base)[1], p.log_prob(x), atol=1e-6, rtol=0)
    many = x.repeat(500, 1)
    bound = model.bound(many, model.draw_base(len(many), generator=torch.Generator().manual_seed(1)))
    gap = bound.total + p.log_prob(many)
    error = gap.std() / math.sqrt(len(many))
    assert error < 0.01
    assert abs(gap.mean()) < 4 * error
    assert bound.kl.shape == (len(many), 2)


def test_samples_have_the_covariance_of_the_model():
    model, p = exact_model()
    model.noise = True
    x = model.float().sample(100_000, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(x.mean(0), p.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(x.T), p.covariance_matrix, atol=0.03, rtol=0)


def test_reconstructions_are_the_means_of_means(data):
    """W E[z | x] of the closed form; a VAE with one layer is the hierarchical one's."""
    model, _ = exact_model()
    w = orthogonal_columns(D, LATENTS, seed=2)
    projection = w @ torch.linalg.inv(w.T @ w + NOISE**2 * torch.eye(LATENTS).double()) @ w.T
    torch.testing.assert_close(model.reconstruct(data), (data - 0.4) @ projection.T + 0.4)
    vae = VAE(affine, affine, GaussianLikelihood(None), (D,), (LATENTS,)).double()
    vae.load_state_dict(model.state_dict())
    torch.testing.assert_close(vae.reconstruct(data), model.reconstruct(data))
    torch.testing.assert_close(vae.encode(data).mean, model.latent_means(data)[0])
