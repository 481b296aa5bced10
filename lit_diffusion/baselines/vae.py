"""The variational autoencoder (Kingma & Welling 2014): one layer of latents."""

from collections.abc import Sequence

from torch import Tensor

from lit_diffusion.baselines.hierarchical_vae import HierarchicalVAE
from lit_diffusion.baselines.likelihood import Likelihood
from lit_diffusion.baselines.shaped_network import ShapedNetwork, read_shape
from lit_diffusion.diffusion.distributions import Gaussian


class VAE(HierarchicalVAE):
    """q(z | x_0) = N(mu(x_0), diag sigma^2(x_0)), p(z) = N(0, I), p(x_0 | z) by a decoder network and a likelihood.

    encoder, decoder: of x_0 to z and back; each is called once with the shapes of its input and its output.
    shape: of an example; latent_shape: of z, a vector [D] or a small image [C, H, W]. noise: whether samples are draws
    from p(x_0 | z), which for images adds noise to every pixel, or its means.

    Raises ConfigError if a network does not fit its shapes.
    """

    def __init__(
        self,
        encoder: ShapedNetwork,
        decoder: ShapedNetwork,
        likelihood: Likelihood,
        shape: Sequence[int],
        latent_shape: Sequence[int],
        noise: bool = False,
    ):
        latent = read_shape("latent_shape", tuple(latent_shape))
        super().__init__(encoder, decoder, encoder, likelihood, shape, [latent], noise)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Of z."""
        return self.latent_shapes[0]

    def encode(self, x_0: Tensor) -> Gaussian:
        """q(z | x_0)."""
        return self.infer(1, x_0)
