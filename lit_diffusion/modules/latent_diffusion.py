"""Diffusion in the latents of an autoencoder (Rombach et al. 2022)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam

from lit_diffusion.diffusion.bound import bits_per_dim, sum_per_image
from lit_diffusion.diffusion.bound_estimate import Curve, Estimate, estimate_mean
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.diffusion.objective import Objective
from lit_diffusion.diffusion.process import Process
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.diffusion.schedule import float64_device
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.modules.likelihood_bound import BoundScore, DiffusionBound
from lit_diffusion.modules.loss_module import LinearWarmup
from lit_diffusion.modules.trained_autoencoder import Autoencoder

MOST = 10_000  # training examples that the scale is measured on
BATCH = 500


class LatentDiffusionModule(DiffusionModule):
    """Trains `reverse` on the latents z ~ q(z | x_0) of a fixed `autoencoder`, times one number; samples are decoded.

    scale: of the latents; by default 1 / their standard deviation over the training set, of which at most 10,000
    examples are used, measured when training starts. The rest: see `DiffusionModule`.

    Its bound in image space is that of a VAE with the diffusion model's bound in place of the prior's KL:
    -log p(x_0) <= E_q[-log p(x_0 | z)] - H(q(z | x_0)) + E_q[L(z)], where L(z) bounds -log p(z).
    """

    scale: Tensor
    has_reverse = False

    def __init__(
        self,
        autoencoder: Autoencoder,
        reverse: ReverseModel,
        objective: Objective,
        sampler: Sampler,
        optimizer: OptimizerCallable = Adam,
        lr_schedule: LRSchedulerCallable = LinearWarmup,
        scale: float | None = None,
    ):
        if scale is not None and not 0 < scale < math.inf:
            raise ConfigError(f"scale: expected a number above 0, or null to measure it, got {scale:g}")
        super().__init__(reverse, objective, sampler, optimizer, lr_schedule)
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.register_buffer("scale", torch.tensor(math.nan if scale is None else scale))

    @property
    def process(self) -> Process | None:
        return None

    def trained_parameters(self) -> list[nn.Parameter]:
        return [*self.reverse.parameters()]

    def train(self, mode: bool = True) -> "LatentDiffusionModule":
        """The autoencoder stays in evaluation mode."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def check(self, image_shape: tuple[int, ...], num_levels: int | None, num_classes: int | None) -> None:
        self.autoencoder.check(image_shape, num_levels)
        super().check(self.autoencoder.latent_shape, None, num_classes)

    def check_data(self, name: str) -> None:
        if self.autoencoder.data not in ("", name):
            raise ConfigError(
                f"expected an autoencoder of {name}, got one that was trained on {self.autoencoder.data}; use the run "
                "of another one",
                key="model.autoencoder.run",
            )

    def on_fit_start(self) -> None:
        """Measures the scale, unless it is given or comes from a checkpoint."""
        if self.scale.isnan():
            data = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            count = data.sizes["train"]
            chosen = torch.arange(min(count, MOST)) * count // min(count, MOST)
            self.scale.fill_(1 / self.latent_std(data.batches("train", chosen.split(BATCH))))

    @torch.no_grad()
    def latent_std(self, batches: Any) -> float:
        """The standard deviation of all values of z ~ q(z | x_0) for batches of examples x_0 (B, *)."""
        sums = torch.zeros(3, dtype=torch.float64)
        for x_0 in batches:
            q = self.autoencoder.encode(x_0)
            mean, variance = (one.to(float64_device(one.device)).double() for one in (q.mean, q.variance))
            square = mean**2 + variance
            sums += torch.stack([torch.tensor(mean.numel()), mean.sum().cpu(), square.sum().cpu()])
        count, total, squares = sums.tolist()
        std = math.sqrt(max(squares / count - (total / count) ** 2, 0))
        if not 0 < std < math.inf:
            raise ConfigError(
                f"expected latents that vary, but their standard deviation is {std:g}; use another run",
                key="model.autoencoder.run",
            )
        return std

    def loss(self, x_0: Tensor, label: Tensor | None, randomness: Sequence[Any] | None = None) -> Tensor:
        *drawn, eps = self.draw_randomness(x_0) if randomness is None else randomness
        return super().loss(self.latents(x_0, eps), label, drawn)

    def draw_randomness(self, x_0: Tensor) -> Sequence[Any]:
        z = x_0.new_empty(len(x_0), *self.autoencoder.latent_shape)
        return [*super().draw_randomness(z), Gaussian.draw_base(z)]

    @torch.no_grad()
    def latents(self, x_0: Tensor, eps: Tensor) -> Tensor:
        """scale * z for the draw z ~ q(z | x_0) that follows from eps, (B, *latent_shape)."""
        return self.autoencoder.encode(x_0).rsample(eps) * self.scale

    def chain_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *self.autoencoder.latent_shape)

    @torch.no_grad()
    def outcome(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self.autoencoder.outcome(x / self.scale, generator)

    def chain_steps(self, sampler: Sampler | None = None) -> Sequence[int]:
        return ()

    def describe_samples(self, sampler: Sampler | None = None) -> dict[str, Any]:
        return {**super().describe_samples(sampler), "latents": list(self.autoencoder.latent_shape)}

    def bound(
        self, terms: int | None, num_examples: int, device: torch.device, half_range: float = 127.5
    ) -> DiffusionBound:
        super().bound(terms, 0, device)  # refuses guided models
        return LatentDiffusionBound(self, terms, num_examples, device)


class LatentDiffusionBound(DiffusionBound):
    """The bound in image space, from one draw of z for each example in each batch of pairs.

    In nats: -log p(x_0 | z) - H(q(z | x_0)) + L(scale * z) - D log(scale) for the D values of z.
    """

    def __init__(self, module: LatentDiffusionModule, terms: int | None, num_examples: int, device: torch.device):
        super().__init__(module.reverse, terms, num_examples, device, 1.0)
        self.module = module
        self.outer = torch.zeros(num_examples, 2, dtype=torch.float64, device=device)  # bits/dim
        self.share = math.prod(module.autoencoder.latent_shape) / math.prod(module.autoencoder.shape)

    @torch.no_grad()
    def add(self, x_0: Tensor, label: Tensor | None, pairs: range, generator: torch.Generator) -> None:
        module = self.module
        q = module.autoencoder.encode(x_0)
        z = q.sample(generator)
        entropy = q.entropy().expand_as(z) + module.scale.log()
        nats = torch.stack([module.autoencoder.reconstruction_nll(x_0, z), -sum_per_image(entropy)], dim=1)
        number = torch.arange(pairs.start, pairs.stop) // self.parts
        image, counts = number.unique(return_counts=True)
        bits = torch.stack([bits_per_dim(one, x_0) for one in nats.unbind(1)], dim=1).to(self.outer)
        self.outer.index_add_(0, image.to(self.outer.device), bits * counts.to(bits)[:, None] / self.parts)
        super().add(z * module.scale, label, pairs, generator)

    def add_constant(self, nats: float, dimensions: int) -> None:
        self.outer[:, 0] += nats / (math.log(2) * dimensions)

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> None:
        super().reduce(add_up)
        self.outer = add_up(self.outer)

    def per_example(self) -> Tensor:
        return (self.sums.images.sum(1) * self.share + self.outer.sum(1)).cpu()

    def scores(self) -> dict[str, BoundScore]:
        return {"bits_per_dim": BoundScore(estimate_mean(self.per_example()), {"bound": "diffusion in latents"})}

    def terms(self) -> dict[str, Estimate]:
        images, outer = (self.sums.images * self.share).cpu(), self.outer.cpu()
        columns = {
            "L_T": images[:, 0],
            "L_1..T-1": images[:, 1],
            "L_0": images[:, 2],
            "-log p(x_0 | z)": outer[:, 0],
            "-H(z | x_0)": outer[:, 1],
        }
        return {name: estimate_mean(column) for name, column in {"total": self.per_example(), **columns}.items()}

    def curve(self) -> Curve | None:
        """None: steps of latents have no distortion of images."""
        return None
