"""The bound of a variational autoencoder on many examples, from several draws of their latents."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lit_diffusion.baselines.active_units import active_units, unit_sums
from lit_diffusion.baselines.hierarchical_vae import HierarchicalVAE
from lit_diffusion.diffusion.bound_estimate import Estimate, estimate_mean
from lit_diffusion.modules.likelihood_bound import BoundScore, LikelihoodBound


class VAEBound(LikelihoodBound):
    """The ELBO, averaged over the draws of each example, and their importance-weighted bound  (Burda et al. 2016).

    draws: k, of the latents of each example. beta: of the training, for the protocol; it does not enter the bound.
    """

    def __init__(self, model: HierarchicalVAE, draws: int, beta: float, num_examples: int, device: torch.device):
        self.model, self.parts, self.beta = model, draws, beta
        zeros = torch.zeros(num_examples, draws, dtype=torch.float64, device=device)
        # Kept draw by draw, since the logarithm of a mean is not a sum: each device fills in its own, and zeros add up.
        self.log_weight = zeros
        self.kl = zeros.new_zeros(num_examples, model.num_layers)
        self.reconstruction = zeros.new_zeros(num_examples)
        self.units = [zeros.new_zeros(3, math.prod(shape)) for shape in model.latent_shapes]
        self.dimensions = math.prod(model.shape)

    @torch.no_grad()
    def add(self, x_0: Tensor, label: Tensor | None, pairs: range, generator: torch.Generator) -> None:
        pair = torch.arange(pairs[0], pairs[-1] + 1, device=x_0.device)
        example, draw = pair // self.parts, pair % self.parts
        own = x_0[example - example[0]]
        bound, log_weight = self.model.weighted_bound(own, self.model.draw_base(len(own), x_0.device, generator))
        device = self.log_weight.device
        example, draw = example.to(device), draw.to(device)
        self.log_weight[example, draw] += log_weight.to(device).double()
        self.kl.index_add_(0, example, bound.kl.to(device).double() / self.parts)
        self.reconstruction.index_add_(0, example, bound.reconstruction_nll.to(device).double() / self.parts)
        first = own[(pair % self.parts == 0)]
        if len(first):
            for sums, means in zip(self.units, self.model.latent_means(first)):
                sums += unit_sums(means.to(device))

    def add_constant(self, nats: float, dimensions: int) -> None:
        self.reconstruction += nats
        self.log_weight -= nats

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> None:
        self.log_weight, self.kl = add_up(self.log_weight), add_up(self.kl)
        self.reconstruction = add_up(self.reconstruction)
        self.units = [add_up(sums) for sums in self.units]

    def per_example(self) -> Tensor:
        return self._bits(self.kl.sum(1) + self.reconstruction)

    def scores(self) -> dict[str, BoundScore]:
        terms, active = self.terms(), sum(active_units(sums) for sums in self.units)
        weighted = {"bound": f"importance-weighted, k = {self.parts}"}
        return {
            "bits_per_dim": BoundScore(terms["total"], {"bound": "ELBO"}),
            "iw_bits_per_dim": BoundScore(terms["importance-weighted"], weighted),
            "kl": BoundScore(estimate_mean(self._bits(self.kl.sum(1))), {}),
            "reconstruction": BoundScore(terms["reconstruction"], {}),
            "active_units": BoundScore(Estimate(active, None), {"unit": "latents"}),
        }

    def terms(self) -> dict[str, Estimate]:
        layers = self._bits(self.kl).unbind(1)
        names = ["KL"] if len(layers) == 1 else [f"KL of layer {i}" for i in range(1, len(layers) + 1)]
        importance = math.log(self.parts) - torch.logsumexp(self.log_weight, dim=1)
        return {
            "total": estimate_mean(self.per_example()),
            **{name: estimate_mean(kl) for name, kl in zip(names, layers)},
            "reconstruction": estimate_mean(self._bits(self.reconstruction)),
            "importance-weighted": estimate_mean(self._bits(importance)),
        }

    def describe(self) -> dict[str, Any]:
        return {"draws": self.parts, "beta": self.beta, **self.model.protocol}

    def _bits(self, nats: Tensor) -> Tensor:
        return nats.cpu() / (self.dimensions * math.log(2))
