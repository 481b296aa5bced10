"""The importance-weighted bound (Burda et al. 2016)."""

import math

import torch
from torch import Tensor

from lit_diffusion.baselines.latent_model import LatentModel


@torch.no_grad()
def importance_weighted_nll(
    model: LatentModel, x_0: Tensor, draws: int, generator: torch.Generator | None = None
) -> Tensor:
    """-log 1/k sum_{j=1..k} p(x_0, z^j) / q(z^j | x_0) in nats, (B,), for k = `draws` of the latents of x_0 (B, *).

    In expectation it is at least -log p(x_0), never rises with k, and tends to -log p(x_0); k = 1 is the ELBO.
    """
    total = x_0.new_full((len(x_0),), -torch.inf)
    for _ in range(draws):
        total = torch.logaddexp(total, model.weighted_bound(x_0, model.draw_base(len(x_0), x_0.device, generator))[1])
    return math.log(draws) - total
