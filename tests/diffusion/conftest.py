"""What the tests of the mathematics share: the papers' formulas in extended precision, networks that know the answer.

Nothing here calls the package's formulas: a reference that reused them would prove nothing.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lit_diffusion.diffusion import (
    CleanImage,
    DiscretizedGaussian,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    PosteriorMean,
    PosteriorVariance,
    Velocity,
)
from lit_diffusion.diffusion.schedule import NoiseSchedule


class Table:
    """What follows from beta_1..beta_T, by recursions that subtract nothing, in numpy's longest float.

    alpha_bar, sigma2 (1 - alpha_bar): T+1 entries, from t = 0.
    """

    def __init__(self, betas):
        self.beta = np.concatenate([[0], np.asarray(betas, dtype=np.longdouble)])
        self.num_steps = len(self.beta) - 1
        self.alpha_bar, self.sigma2 = np.ones_like(self.beta), np.zeros_like(self.beta)
        for t in range(1, self.num_steps + 1):
            self.alpha_bar[t] = (1 - self.beta[t]) * self.alpha_bar[t - 1]
            self.sigma2[t] = self.beta[t] + (1 - self.beta[t]) * self.sigma2[t - 1]

    def between(self, t: int, s: int):
        """alpha_{t|s} and beta_{t|s}."""
        alpha, beta = np.longdouble(1), np.longdouble(0)
        for u in range(s + 1, t + 1):
            alpha, beta = (1 - self.beta[u]) * alpha, self.beta[u] + (1 - self.beta[u]) * beta
        return alpha, beta

    def posterior(self, t: int, s: int):
        """Weights of x_0 and x_t in the posterior mean, and its variance; x_s = x_t where x_t has no noise."""
        alpha, beta = self.between(t, s)
        if self.sigma2[t] == 0:
            return np.longdouble(0), np.longdouble(1), np.longdouble(0)
        c_0 = np.sqrt(self.alpha_bar[s]) * beta / self.sigma2[t]
        return c_0, np.sqrt(alpha) * self.sigma2[s] / self.sigma2[t], self.sigma2[s] / self.sigma2[t] * beta

    def variances(self) -> np.ndarray:
        """beta~_1..beta~_T as the released code clips them: beta~_2 in the place of beta~_1."""
        small = np.array([self.posterior(t, t - 1)[2] for t in range(1, self.num_steps + 1)])
        small[0] = small[1] if self.num_steps > 1 else self.beta[1]
        return small.astype(float)


class Oracle(nn.Module):
    """A network that says of every (x_t, t) that the clean image is `clean(x_t, t)`, in any parameterization.

    raw(x_t, t), if given, is its second output. `calls` keeps the index it received.
    """

    def __init__(self, betas, kind: type, clean: Callable[[Tensor, int], Tensor], raw=None):
        super().__init__()
        self.table, self.kind, self.clean, self.raw = Table(betas), kind, clean, raw
        self.anchor = nn.Parameter(torch.zeros(()))
        self.calls = []

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        self.calls.append(index)
        if (index == index[0]).all():
            return self.one(x, int(index[0]) + 1)
        return torch.cat([self.one(x[i : i + 1], int(index[i]) + 1) for i in range(len(x))])

    def one(self, x: Tensor, t: int) -> Tensor:
        output = express(self.table, self.kind, self.clean(x, t), x, t)
        return output if self.raw is None else torch.cat([output, self.raw(x, t).expand_as(x)], dim=1)


def express(table: Table, kind: type, x_0: Tensor, x_t: Tensor, t: int) -> Tensor:
    """The target of a parameterization for images x_0 and x_t that share the step t, from PAPERS section 1."""
    signal, sigma = float(np.sqrt(table.alpha_bar[t])), float(np.sqrt(table.sigma2[t]))
    if kind is CleanImage:
        return x_0
    if kind is PosteriorMean:
        c_0, c_t, _ = table.posterior(t, t - 1)
        return float(c_0) * x_0 + float(c_t) * x_t
    eps = (x_t - signal * x_0) / sigma
    return eps if kind is Epsilon else {Velocity: signal * eps - sigma * x_0}[kind]


class SmallNetwork(nn.Module):
    """A bounded network of a few parameters that reads x_t and t."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        self.time = nn.Linear(1, out_channels)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        time = self.time(torch.cos(index.to(x)[:, None]))
        return torch.tanh(self.conv(x) + time[:, :, None, None])


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same global random state."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def table() -> type[Table]:
    return Table


@pytest.fixture(scope="session")
def target_of():
    return express


@pytest.fixture(scope="session")
def small_network() -> type[SmallNetwork]:
    return SmallNetwork


@pytest.fixture(scope="session")
def oracle():
    """Returns a reverse model, in evaluation mode, whose network says that the clean image is clean(x_t, t)."""

    def make(betas, kind, clean, variance=None, raw=None, num_levels=256, decoder=None, channels=1, clip_x_0=False):
        return GaussianReverse(
            GaussianProcess(NoiseSchedule(torch.as_tensor(np.asarray(betas, dtype=np.float64)))),
            lambda *_: Oracle(betas, kind, clean, raw),
            kind(),
            PosteriorVariance() if variance is None else variance,
            DiscretizedGaussian(num_levels) if decoder is None else decoder,
            channels=channels,
            clip_x_0=clip_x_0,
        ).eval()

    return make


@pytest.fixture(scope="session")
def gaussian_denoiser():
    """Returns clean(x_t, t) = E[x_0 | x_t] for data N(mean, diag(variance)), each of the shape of one image."""

    def make(betas, mean: Tensor, variance: Tensor):
        table = Table(betas)

        def clean(x: Tensor, t: int) -> Tensor:
            alpha_bar, sigma2 = float(table.alpha_bar[t]), float(table.sigma2[t])
            gain = variance * alpha_bar**0.5 / (alpha_bar * variance + sigma2)
            return mean + gain * (x - alpha_bar**0.5 * mean)

        return clean

    return make


@pytest.fixture(scope="session")
def to_steps():
    """Returns (t, ..., t) of length B for integer steps."""

    def make(batch_size: int, *steps: int) -> tuple[Tensor, ...]:
        return tuple(torch.full((batch_size,), step) for step in steps)

    return make
