"""How variational autoencoders of one or more layers are trained, and sampled."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam

from lit_diffusion.baselines.hierarchical_vae import HierarchicalVAE
from lit_diffusion.baselines.vae import VAE
from lit_diffusion.diffusion.bound import bits_per_dim
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.modules.generative import DrawsAtOnce
from lit_diffusion.modules.loss_module import LinearWarmup, LossModule
from lit_diffusion.modules.vae_bound import VAEBound


class HierarchicalVAEModule(DrawsAtOnce, LossModule):
    """Trains `vae`, of any depth, on reconstruction + beta KL in bits/dim, which for beta = 1 is its bound.

    beta: weight of the KL terms in training (Higgins et al. 2017). kl_warmup: steps over which the weight grows from 0
    to beta, so that latents are used before they have a price (Bowman et al. 2016). Neither changes the scores:
    bits/dim are those of the bound, with weight 1. importance_draws: k, draws of the latents for each image that is
    scored; the importance-weighted bound is of these.
    """

    def __init__(
        self,
        vae: HierarchicalVAE,
        beta: float = 1.0,
        kl_warmup: int = 0,
        importance_draws: int = 64,
        optimizer: OptimizerCallable = Adam,
        lr_schedule: LRSchedulerCallable = LinearWarmup,
    ):
        super().__init__(optimizer, lr_schedule)
        if not 0 <= beta < float("inf"):
            raise ConfigError(f"beta: expected 0 or more, got {beta:g}; use 1 to train on the bound")
        check_at_least(0, kl_warmup=kl_warmup)
        check_at_least(1, importance_draws=importance_draws)
        self.vae, self.beta, self.kl_warmup, self.importance_draws = vae, beta, kl_warmup, importance_draws

    @property
    def latent_model(self) -> HierarchicalVAE:  # type: ignore[override]  # a property in place of an attribute
        return self.vae

    @property
    def networks(self) -> list[nn.Module]:
        return self.vae.networks

    def check(self, image_shape: tuple[int, ...], num_levels: int | None, num_classes: int | None) -> None:
        self.vae.check(tuple(image_shape), num_levels)

    def loss(self, x_0: Tensor, label: Tensor | None, randomness: Sequence[Any] | None = None) -> Tensor:
        base = self.vae.draw_base(len(x_0), x_0.device) if randomness is None else randomness
        bound = self.vae.bound(x_0, base)
        kl, reconstruction = bound.kl.sum(1), bound.reconstruction_nll
        if self.training:
            self.log("train/kl", bits_per_dim(kl, x_0).mean())
            self.log("train/reconstruction", bits_per_dim(reconstruction, x_0).mean())
        return bits_per_dim(reconstruction + self.kl_weight * kl, x_0)

    @property
    def kl_weight(self) -> float:
        """Of the KL terms: in training it grows for `kl_warmup` steps, for held-out examples it is beta."""
        if not (self.training and self.kl_warmup):
            return self.beta
        return self.beta * min(self.trainer.global_step / self.kl_warmup, 1.0)

    def draw_randomness(self, x_0: Tensor) -> Sequence[Any]:
        return self.vae.draw_base(len(x_0), x_0.device)

    def draw_at_once(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return self.vae.sample(shape[0], generator, self.device)

    def describe_samples(self, sampler: Sampler | None = None) -> dict[str, Any]:
        return {**self.vae.protocol, "nfe": self.vae.num_layers}

    def bound(self, terms: int | None, num_examples: int, device: torch.device, half_range: float = 127.5) -> VAEBound:
        """terms: not used; `importance_draws` are made."""
        return VAEBound(self.vae, self.importance_draws, self.beta, num_examples, device)


class VAEModule(HierarchicalVAEModule):
    """Trains `vae` on reconstruction + beta KL in bits/dim, which for beta = 1 is its bound.

    beta: weight of the KL in training (Higgins et al. 2017). kl_warmup: steps over which the weight grows from 0 to
    beta (Bowman et al. 2016). Neither changes the scores: bits/dim are those of the bound, with weight 1.
    importance_draws: k, draws of the latents for each image that is scored; the importance-weighted bound is of these.
    """

    def __init__(
        self,
        vae: VAE,
        beta: float = 1.0,
        kl_warmup: int = 0,
        importance_draws: int = 64,
        optimizer: OptimizerCallable = Adam,
        lr_schedule: LRSchedulerCallable = LinearWarmup,
    ):
        super().__init__(vae, beta, kl_warmup, importance_draws, optimizer, lr_schedule)
