"""Models with a chain of latents, x_0 -> z_1 -> ... -> z_n and back: what VAEs of any depth share.

p(x_0, z) = p(z_n) prod_{i=2..n} p(z_{i-1} | z_i) p(x_0 | z_1),  q(z | x_0) = prod_{i=1..n} q(z_i | z_{i-1}), z_0 = x_0.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.bound import sum_per_image
from lit_diffusion.diffusion.distributions import Distribution, Gaussian


@dataclass(frozen=True)
class LatentBound:
    """The evidence lower bound as an upper bound on -log p(x_0), in nats, for one draw of the latents.

    kl: (B, n), one term a layer; reconstruction_nll: (B,), -log p(x_0 | z_1).
    """

    kl: Tensor
    reconstruction_nll: Tensor

    @property
    def total(self) -> Tensor:
        """(B,)."""
        return self.kl.sum(1) + self.reconstruction_nll


class LatentModel(nn.Module, ABC):
    """A chain of n latents, Markov both ways.

    shape: of an example x_0; latent_shapes: of z_1..z_n. Layers are numbered 1..n, like the steps of a diffusion model.
    """

    kind: type[Distribution] = Gaussian
    shape: tuple[int, ...]
    latent_shapes: Sequence[tuple[int, ...]]

    @property
    def num_layers(self) -> int:
        """n."""
        return len(self.latent_shapes)

    @abstractmethod
    def infer(self, layer: int, below: Tensor) -> Distribution:
        """q(z_i | z_{i-1}) for i = `layer` in 1..n."""

    @abstractmethod
    def generate(self, layer: int, above: Tensor) -> Distribution:
        """p(z_{i-1} | z_i) for i = `layer` in 2..n."""

    @abstractmethod
    def prior(self, size: int, device: torch.device | None = None) -> Distribution:
        """p(z_n) for `size` examples."""

    @abstractmethod
    def reconstruction_nll(self, x_0: Tensor, z: Tensor) -> Tensor:
        """-log p(x_0 | z_1) in nats, (B,)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x_0 | z_1), (B, *)."""

    @abstractmethod
    def outcome(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An example (B, *) from z_1: the end of a chain of samples."""

    def draw_base(
        self, size: int, device: torch.device | None = None, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """All randomness in one draw of z_1..z_n for `size` examples: eps_i (B, *) for each layer."""
        empty = (torch.empty(size, *shape, device=device) for shape in self.latent_shapes)
        return [self.kind.draw_base(like, generator) for like in empty]

    def walk(self, x_0: Tensor, base: Sequence[Tensor]) -> tuple[list[Distribution], list[Tensor]]:
        """q(z_1 | x_0)..q(z_n | z_{n-1}) and the draws z_1..z_n that follow from `base`."""
        q, z = [], [x_0]
        for layer, noise in enumerate(base, start=1):
            q.append(self.infer(layer, z[-1]))
            z.append(q[-1].rsample(noise))
        return q, z[1:]

    def bound(self, x_0: Tensor, base: Sequence[Tensor]) -> LatentBound:
        """The bound for x_0 (B, *) at one draw of the latents. base: as `draw_base` returns it."""
        return self._bound(x_0, *self.walk(x_0, base))

    def _bound(self, x_0: Tensor, q: list[Distribution], z: list[Tensor]) -> LatentBound:
        kl = [self.layer_kl(layer, x_0, q, z) for layer in range(1, self.num_layers + 1)]
        return LatentBound(torch.stack(kl, dim=1), self.reconstruction_nll(x_0, z[0]))

    def layer_kl(self, layer: int, x_0: Tensor, q: Sequence[Distribution], z: Sequence[Tensor]) -> Tensor:
        """The term of layer i in nats, (B,): log q(z_i | z_{i-1}) - log p(z_i | z_{i+1}) at the draw z_1..z_n, or
        KL(q(z_n | z_{n-1}), p(z_n)) for the last layer, in closed form.
        """
        own = q[layer - 1]
        if layer == self.num_layers:
            return sum_per_image(own.kl(self.prior(len(x_0), x_0.device)))
        p = self.generate(layer + 1, z[layer])
        return sum_per_image(own.log_prob(z[layer - 1]) - p.log_prob(z[layer - 1]))

    def weighted_bound(self, x_0: Tensor, base: Sequence[Tensor]) -> tuple[LatentBound, Tensor]:
        """The bound, and log p(x_0, z) - log q(z | x_0) in nats, (B,), at the same draw, whose mean is minus it."""
        q, z = self.walk(x_0, base)
        p = [self.generate(layer, z[layer - 1]) for layer in range(2, self.num_layers + 1)]
        p.append(self.prior(len(x_0), x_0.device))
        ratios = [sum_per_image(p_i.log_prob(z_i) - q_i.log_prob(z_i)) for p_i, q_i, z_i in zip(p, q, z)]
        bound = self._bound(x_0, q, z)
        return bound, sum(ratios) - bound.reconstruction_nll

    @torch.no_grad()
    def sample(self, size: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        """Examples x_0 (size, *), by drawing z_n, ..., z_1."""
        z = self.prior(size, device).sample(generator)
        for layer in range(self.num_layers, 1, -1):
            z = self.generate(layer, z).sample(generator)
        return self.outcome(z, generator)

    def latent_means(self, x_0: Tensor) -> list[Tensor]:
        """The means of q(z_1 | x_0)..q(z_n | z_{n-1}), each given the mean below: x_0 (B, *) to n of (B, *)."""
        means = [x_0]
        for layer in range(1, self.num_layers + 1):
            means.append(self.infer(layer, means[-1]).mean)
        return means[1:]

    def decode_from(self, layer: int, z: Tensor) -> Tensor:
        """The example (B, *) that follows from z_i, i = `layer`, if every conditional is replaced by its mean."""
        for above in range(layer, 1, -1):
            z = self.generate(above, z).mean
        return self.decode(z)

    def reconstruct(self, x_0: Tensor, layer: int = 1) -> Tensor:
        """What is left of x_0 (B, *) in layer i = `layer`: to its mean and back, by means."""
        return self.decode_from(layer, self.latent_means(x_0)[layer - 1])
