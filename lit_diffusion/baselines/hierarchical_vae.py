"""Variational autoencoders with any number of layers of latents."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_diffusion.baselines.latent_model import LatentModel
from lit_diffusion.baselines.likelihood import Likelihood
from lit_diffusion.baselines.shaped_network import GaussianNetwork, ShapedNetwork, build_network, read_shape
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.errors import ConfigError, blamed_on


class HierarchicalVAE(LatentModel):
    """x_0 -> z_1 -> ... -> z_n: all conditionals of q and p are diagonal Gaussians from networks, p(z_n) = N(0, I).

    encoder: of x_0 to z_1; decoder: of z_1 to x_0; between: of z_{i-1} to z_i and back. Each is called once with the
    shapes of its input and its output. likelihood: p(x_0 | z_1). shape: of an example. latent_shapes: of z_1..z_n.
    noise: whether samples are draws from p(x_0 | z_1), which for images adds noise to every pixel, or its means.

    Raises ConfigError if a network does not fit its shapes.
    """

    def __init__(
        self,
        encoder: ShapedNetwork,
        decoder: ShapedNetwork,
        between: ShapedNetwork,
        likelihood: Likelihood,
        shape: Sequence[int],
        latent_shapes: Sequence[Sequence[int]],
        noise: bool = False,
    ):
        super().__init__()
        if not latent_shapes:
            raise ConfigError("expected one shape or more, got none; use, say, [[32], [8]]", "model.vae.latent_shapes")
        self.shape = read_shape("shape", tuple(shape))
        self.latent_shapes = [read_shape("latent_shapes", tuple(latent)) for latent in latent_shapes]
        self.likelihood, self.noise = likelihood, noise
        first, steps = self.latent_shapes[0], [*zip(self.latent_shapes, self.latent_shapes[1:])]
        self.encoder = GaussianNetwork(encoder, self.shape, first, "model.vae.encoder")
        self.up = nn.ModuleList([GaussianNetwork(between, low, high, "model.vae.between") for low, high in steps])
        self.down = nn.ModuleList([GaussianNetwork(between, high, low, "model.vae.between") for low, high in steps])
        outputs = (likelihood.outputs * self.shape[0], *self.shape[1:])
        self.decoder = build_network(decoder, first, outputs, "model.vae.decoder")

    def infer(self, layer: int, below: Tensor) -> Gaussian:
        gaussian: Gaussian = self.encoder(below) if layer == 1 else self.up[layer - 2](below)
        return gaussian

    def generate(self, layer: int, above: Tensor) -> Gaussian:
        gaussian: Gaussian = self.down[layer - 2](above)
        return gaussian

    def prior(self, size: int, device: torch.device | None = None) -> Gaussian:
        """N(0, I)."""
        zeros = torch.zeros(size, *self.latent_shapes[-1], device=device)
        return Gaussian(zeros, torch.ones_like(zeros))

    def output(self, z: Tensor) -> Tensor:
        """What the likelihood reads for z_1, (B, outputs * C, *)."""
        output: Tensor = self.decoder(z).to(z.dtype)  # mixed precision ends here
        return output

    def reconstruction_nll(self, x_0: Tensor, z: Tensor) -> Tensor:
        return self.likelihood.nll(x_0, self.output(z))

    def decode(self, z: Tensor) -> Tensor:
        return self.likelihood.mean(self.output(z))

    def outcome(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw from p(x_0 | z_1) if `noise`; else what the likelihood shows, usually its mean."""
        draw = self.likelihood.sample if self.noise else self.likelihood.outcome
        return draw(self.output(z), generator)

    @property
    def networks(self) -> list[nn.Module]:
        """All networks."""
        between = [step.network for step in [*self.up, *self.down]]
        return [self.encoder.network, *between, self.decoder]

    @property
    def protocol(self) -> dict[str, object]:
        """What scores of samples and of the bound depend on, besides the weights."""
        return {"likelihood": type(self.likelihood).__name__, "noise": self.noise}

    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        """Raises ConfigError unless the model is for examples of `shape` with `num_levels`, None for real values."""
        if shape != self.shape:
            raise ConfigError(
                f"expected the data's shape {list(shape)}, got {list(self.shape)}; set shape: {list(shape)}",
                key="model.vae.shape",
            )
        with blamed_on("model.vae.likelihood"):
            self.likelihood.check_levels(num_levels)
