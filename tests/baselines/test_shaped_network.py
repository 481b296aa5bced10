"""Models refuse networks and data that do not fit, and count what their latents carry."""

import pytest
import torch
from torch import nn

from lit_diffusion.baselines import VAE, GaussianLikelihood, HierarchicalVAE
from lit_diffusion.baselines.active_units import active_units, unit_sums
from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import ConvDecoder, ConvEncoder, DenseNetwork


def image_vae(**settings):
    parts = {"encoder": ConvEncoder, "decoder": ConvDecoder, "likelihood": GaussianLikelihood(17), "shape": (1, 8, 8)}
    return VAE(**{**parts, "latent_shape": (4,), **settings})


def test_a_vae_of_images_has_latents_of_either_kind():
    for latent in [(4,), (2, 4, 4)]:
        model = image_vae(latent_shape=latent, likelihood=GaussianLikelihood(17, per_element=True))
        x_0 = torch.zeros(3, 1, 8, 8)
        assert model.encode(x_0).mean.shape == (3, *latent)
        assert model.sample(2).shape == (2, 1, 8, 8)
        assert model.bound(x_0, model.draw_base(3)).total.isfinite().all()
        model.check((1, 8, 8), 17)


@pytest.mark.parametrize(
    "settings, message, key",
    [
        ({"decoder": DenseNetwork, "latent_shape": ()}, "expected one or more positive", "model.vae.latent_shape"),
        ({"encoder": nn.Linear}, "built from two shapes", "model.vae.encoder"),
        ({"encoder": lambda i, o: nn.Identity()}, r"of shape \[8\], got \[1, 8, 8\]", "model.vae.encoder"),
        ({"decoder": ConvEncoder}, "expected images", "model.vae.decoder"),
    ],
)
def test_networks_that_do_not_fit_are_refused_by_their_key(settings, message, key):
    with pytest.raises(ConfigError, match=message) as raised:
        image_vae(**settings)
    assert raised.value.key == key


def test_data_that_do_not_fit_are_refused():
    model = image_vae()
    with pytest.raises(ConfigError, match=r"expected the data's shape \[3, 8, 8\], got \[1, 8, 8\]; set shape"):
        model.check((3, 8, 8), 17)
    with pytest.raises(ConfigError, match="expected 256 levels"):
        model.check((1, 8, 8), 256)
    with pytest.raises(ConfigError, match="expected one shape or more"):
        HierarchicalVAE(ConvEncoder, ConvDecoder, DenseNetwork, GaussianLikelihood(17), (1, 8, 8), [])


def test_active_units_are_those_whose_means_vary_over_all_batches():
    """Variances 1, 0.02 and 0.005 over 900 examples, whatever the batches that sums come from."""
    spread = torch.tensor([1.0, 0.02, 0.005]).sqrt()
    means = 5 + spread * torch.randn(900, 3, generator=torch.Generator().manual_seed(0))
    parts = sum(unit_sums(part) for part in means.split(128))
    torch.testing.assert_close(parts, unit_sums(means))
    assert active_units(parts) == 2
