"""A diffusion model as a hierarchical VAE: its encoder is fixed, and all its latents are as large as an example."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lit_diffusion.baselines.latent_model import LatentModel
from lit_diffusion.diffusion.bound import diffusion_kl, sum_per_image
from lit_diffusion.diffusion.distributions import Distribution
from lit_diffusion.diffusion.reverse import ReverseModel, ReversePrediction


class DiffusionChain(LatentModel):
    """z_i = x_i: q(z_i | z_{i-1}) of the process, p(z_{i-1} | z_i) of the reverse model, T layers.

    The terms are KLs with q(z_{i-1} | z_i, x_0), which a fixed encoder has in closed form, and so those of
    `variational_bound`; learned encoders have log ratios in their place, with equal means. The predicted x_0 is clipped
    as there. shape: of an example.
    """

    def __init__(self, reverse: ReverseModel, shape: Sequence[int]):
        super().__init__()
        self.reverse, self.kind, self.shape = reverse, reverse.process.kind, tuple(shape)
        self.latent_shapes = [self.shape] * reverse.num_steps

    def predict(self, layer: int, z: Tensor) -> ReversePrediction:
        """One evaluation of the reverse model's network at step t = `layer`."""
        return self.reverse.predict(z, self._steps(layer, z), clip=True)

    def infer(self, layer: int, below: Tensor) -> Distribution:
        t = self._steps(layer, below)
        return self.reverse.process.step(below, t, t - 1)

    def generate(self, layer: int, above: Tensor) -> Distribution:
        return self.predict(layer, above).transition(self._steps(layer - 1, above))

    def prior(self, size: int, device: torch.device | None = None) -> Distribution:
        return self.reverse.process.prior((size, *self.shape), device)

    def reconstruction_nll(self, x_0: Tensor, z: Tensor) -> Tensor:
        return sum_per_image(self.reverse.reconstruction_nll(x_0, self._last(z)))

    def decode(self, z: Tensor) -> Tensor:
        return self._last(z).mean

    def outcome(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._last(z).outcome(generator)

    def layer_kl(self, layer: int, x_0: Tensor, q: Sequence[Distribution], z: Sequence[Tensor]) -> Tensor:
        """KL(q(z_i | z_{i+1}, x_0), p(z_i | z_{i+1})), and KL(q(z_T | x_0), p(z_T)) for the last, (B,)."""
        if layer == self.num_layers:
            last = self.reverse.process.marginal(x_0, self._steps(layer, x_0))
            return sum_per_image(last.kl(self.prior(len(x_0), x_0.device)))
        return diffusion_kl(self.predict(layer + 1, z[layer]), x_0, self._steps(layer, x_0))

    def _last(self, z: Tensor) -> Distribution:
        return self.predict(1, z).transition(self._steps(0, z))

    @staticmethod
    def _steps(layer: int, like: Tensor) -> Tensor:
        return torch.full((len(like),), layer, device=like.device)
