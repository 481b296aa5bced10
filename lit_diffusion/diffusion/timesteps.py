"""The steps t at which an objective is evaluated, and their weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lit_diffusion.diffusion.schedule import float64_device
from lit_diffusion.errors import ConfigError


@dataclass(frozen=True)
class Draw:
    """Steps t (B, K) in 1..T for each of B images, and weights (B, K) that make the sum of weight * loss_t over K an
    unbiased estimate of the mean of loss_t over t = 1..T.
    """

    t: Tensor
    weight: Tensor

    def __getitem__(self, images: slice) -> "Draw":
        """The draw of some of the images."""
        return Draw(self.t[images], self.weight[images])


class Timesteps(nn.Module, ABC):
    """A distribution over steps. Draws from torch's global generator, which the training loop seeds at every step.

    memoryless: whether it is independent of earlier losses.
    """

    memoryless = True

    def bind(self, num_steps: int) -> None:
        """Called once before training with the number of steps T."""
        self.num_steps = num_steps

    @abstractmethod
    def draw(self, batch_size: int, device: torch.device) -> Draw:
        """Steps and weights for a batch of B images."""

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Called after each training batch with the losses (N,) at its steps t (N,)."""


class Uniform(Timesteps):
    """One step per image, t ~ Uniform(1..T)  (Ho et al. 2020, algorithm 1)."""

    def draw(self, batch_size: int, device: torch.device) -> Draw:
        t = torch.randint(1, self.num_steps + 1, (batch_size, 1), device=device)
        return Draw(t, torch.ones(batch_size, 1, device=device))


class LowDiscrepancy(Timesteps):
    """One step per image, evenly spread over the batch from one common random offset: uniform for each image, with a
    lower variance of the batch's mean  (Kingma et al. 2021, arXiv 2107.00630, appendix I.1).
    """

    def draw(self, batch_size: int, device: torch.device) -> Draw:
        float64: dict[str, Any] = {"dtype": torch.float64, "device": float64_device(device)}
        u = torch.rand(1, **float64) + torch.arange(batch_size, **float64) / batch_size
        t = (u % 1 * self.num_steps).long().clamp(max=self.num_steps - 1) + 1
        return Draw(t[:, None].to(device), torch.ones(batch_size, 1, device=device))


class AllTimesteps(Timesteps):
    """Every step of every image: no variance from t, at T times the cost.

    A batch of B images takes B * T evaluations of the network at once; choose the batch size accordingly.
    """

    def draw(self, batch_size: int, device: torch.device) -> Draw:
        t = torch.arange(1, self.num_steps + 1, device=device).expand(batch_size, -1)
        return Draw(t, torch.full_like(t, 1 / self.num_steps, dtype=torch.float32))


class ImportanceSampled(Timesteps):
    """t with probability proportional to sqrt(E[loss_t^2]), over the last `history` losses of each t, mixed with
    `uniform` of the uniform distribution; uniform until every t has its history  (Nichol & Dhariwal 2021, section 3.3).

    The history is shared by all ranks and stored in checkpoints.
    """

    losses: Tensor  # (T, history)
    counts: Tensor  # (T,)

    memoryless = False

    def __init__(self, history: int = 10, uniform: float = 0.001):
        super().__init__()
        if history < 1 or not 0 < uniform <= 1:
            raise ConfigError(
                f"expected history of 1 or more and uniform in (0, 1] for ImportanceSampled, got {history} and "
                f"{uniform:g}; use 10 and 0.001"
            )
        self.history = history
        self.uniform = uniform

    def bind(self, num_steps: int) -> None:
        super().bind(num_steps)
        self.register_buffer("losses", torch.zeros(num_steps, self.history))
        self.register_buffer("counts", torch.zeros(num_steps, dtype=torch.long))

    def probabilities(self) -> Tensor:
        """p(t) for t = 1..T, (T,). Uniform too if a loss is not finite: the run then ends as diverged, not here."""
        device = float64_device(self.losses.device)
        losses, counts = self.losses.to(device), self.counts.to(device)
        size = losses.double().square().mean(1).sqrt()  # squares of float32 may not be float32
        known = (counts >= self.history).all() & (size.sum() > 0) & size.isfinite().all()
        share = torch.where(known, size / size.sum().clamp(min=torch.finfo(size.dtype).tiny), 1 / self.num_steps)
        return (1 - self.uniform) * share + self.uniform / self.num_steps

    def draw(self, batch_size: int, device: torch.device) -> Draw:
        p = self.probabilities()
        index = torch.multinomial(p, batch_size, replacement=True)[:, None]
        return Draw((index + 1).to(device), (1 / (self.num_steps * p[index])).float().to(device))

    @torch.no_grad()
    def update(self, t: Tensor, loss: Tensor) -> None:
        """Adds the losses of all ranks in order of arrival; a step drawn twice in a batch counts twice."""
        index, loss = gather(t) - 1, gather(loss.to(self.losses))
        same = index[:, None] == index  # (N, N)
        earlier, later = same.tril(-1).sum(1), same.triu(1).sum(1)
        place = index * self.history + (self.counts[index] + earlier) % self.history
        place = torch.where(later < self.history, place, self.losses.numel())  # what the batch itself overwrites
        flat = torch.cat([self.losses.flatten(), self.losses.new_zeros(1)])
        self.losses.copy_(flat.index_put((place,), loss)[:-1].view_as(self.losses))
        self.counts.index_add_(0, index, torch.ones_like(index))


def gather(x: Tensor) -> Tensor:
    """x (N,) of all ranks, concatenated, for equal N; x itself in a single process."""
    if not (dist.is_available() and dist.is_initialized()):
        return x
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)
