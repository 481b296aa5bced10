"""Noise schedules beta_1..beta_T, kept as float64 tables of log alpha_bar."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError

# log(1 - beta) for beta = 1. A finite stand-in for minus infinity whose exponential is exactly zero in float64, so that
# differences between steps stay defined: alpha_bar_t / alpha_bar_s is never 0 / 0.
LOG_ZERO = -1000.0


def float64_device(device: torch.device) -> torch.device:
    """Where tensors of a device can be float64: there, or on the CPU for Apple's GPUs, which lack it.

    >>> float64_device(torch.device("mps"))
    device(type='cpu')
    """
    return torch.device("cpu") if device.type == "mps" else device


class NoiseSchedule(nn.Module):
    """A table beta_1..beta_T in [0, 1] and what follows from it, alpha_bar_t = prod_{s<=t} (1 - beta_s).

    Every method takes integer steps t in 0..T of shape (B,), or one integer, and returns that shape in float64;
    `spread` casts the result once for use with images. The tables are not buffers: a precision plugin or a device
    without float64 must not round them.

    num_steps: T, in all kinds. beta_start, beta_end: beta_1 and beta_T, or the ends of the part that is not constant.
    betas: all of them. learned: whether it is trained by gradients.

    Raises ConfigError if a beta lies outside [0, 1] or there are none.

    >>> schedule = NoiseSchedule(torch.tensor([0.1, 0.2, 0.5]))
    >>> schedule.alpha_bar(torch.tensor([0, 1, 2, 3]))
    tensor([1.0000, 0.9000, 0.7200, 0.3600], dtype=torch.float64)
    """

    learned = False

    def __init__(self, betas: Tensor):
        super().__init__()
        name = type(self).__name__
        if betas.numel() < 1:
            raise ConfigError(f"expected 1 step or more for {name}, got none; set num_steps")
        outside = ((betas >= 0) & (betas <= 1)).logical_not()
        if outside.any():
            t = int(outside.nonzero()[0])
            raise ConfigError(
                f"expected every beta of {name} in [0, 1], got beta_{t + 1} = {betas[t]:.6g}; change its arguments"
            )
        log_alpha = torch.log1p(-betas.double()).clamp(min=LOG_ZERO)
        self._log_alpha_bar = {torch.device("cpu"): torch.cat([torch.zeros(1), log_alpha.cumsum(0)]).double()}

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self._log_alpha_bar[torch.device("cpu")]) - 1

    @property
    def table(self) -> Tensor:
        """log alpha_bar_0..alpha_bar_T: (T+1,) float64 on the CPU."""
        return self._log_alpha_bar[torch.device("cpu")]

    def steps(self) -> Tensor:
        """All steps 1..T, (T,)."""
        return torch.arange(1, self.num_steps + 1)

    def log_alpha_bar(self, t: Tensor | int) -> Tensor:
        """log alpha_bar_t. Zero at t = 0; LOG_ZERO or below where alpha_bar_t = 0."""
        t = self.to_table_device(t)
        if t.device not in self._log_alpha_bar:
            with torch.inference_mode(False):  # a gradient may need it later
                self._log_alpha_bar[t.device] = self._log_alpha_bar[torch.device("cpu")].to(t.device)
        return self._log_alpha_bar[t.device][t]

    def to_table_device(self, t: Tensor | int) -> Tensor:
        """Steps t on the device of their table, `float64_device`.

        Raises ConfigError for an integer outside 0..T.
        """
        if isinstance(t, Tensor):
            return t.to(float64_device(t.device))
        if not isinstance(t, int) or not 0 <= t <= self.num_steps:
            raise ConfigError(f"t: expected a step from 0 to T = {self.num_steps}, got {t}")
        return torch.tensor(t)

    def alpha_bar(self, t: Tensor | int) -> Tensor:
        """alpha_bar_t, the fraction of the variance of x_0 left in x_t; 1 at t = 0.

        >>> LinearSchedule().alpha_bar(torch.tensor([0, 500, 1000]))
        tensor([1.0000e+00, 7.8587e-02, 4.0358e-05], dtype=torch.float64)
        """
        return self.log_alpha_bar(t).exp()

    def sigma2(self, t: Tensor | int) -> Tensor:
        """1 - alpha_bar_t, the variance of the noise in x_t; exact where alpha_bar_t is close to 1."""
        return -torch.expm1(self.log_alpha_bar(t))

    def alpha(self, t: Tensor | int, s: Tensor | int) -> Tensor:
        """alpha_{t|s} = alpha_bar_t / alpha_bar_s, for s < t."""
        return (self.log_alpha_bar(t) - self.log_alpha_bar(s)).exp()

    def beta(self, t: Tensor | int, s: Tensor | int) -> Tensor:
        """beta_{t|s} = 1 - alpha_{t|s}, the variance added between s and t; beta_t for s = t - 1."""
        return -torch.expm1(self.log_alpha_bar(t) - self.log_alpha_bar(s))

    def log_snr(self, t: Tensor | int) -> Tensor:
        """log(alpha_bar_t / (1 - alpha_bar_t)); infinite without noise, LOG_ZERO or below without signal."""
        return self.log_alpha_bar(t) - self.sigma2(t).log()


def spread(coefficient: Tensor, x: Tensor) -> Tensor:
    """(B,) float64 to (B, 1, ..., 1) of the type and device of x (B, *): the one place where tables are cast."""
    return coefficient.to(x).reshape(-1, *[1] * (x.ndim - 1))


class LinearSchedule(NoiseSchedule):
    """beta from `beta_start` to `beta_end` in equal steps (Ho et al. 2020, section 4)."""

    def __init__(self, num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02):
        super().__init__(linspace(beta_start, beta_end, num_steps))


class RescaledLinearSchedule(NoiseSchedule):
    """The linear schedule of 1000 steps at another T: both ends times 1000 / T (Nichol & Dhariwal 2021, code)."""

    def __init__(self, num_steps: int = 4000, beta_start: float = 1e-4, beta_end: float = 0.02):
        scale = 1000 / max(num_steps, 1)
        super().__init__(linspace(scale * beta_start, scale * beta_end, num_steps))


class QuadraticSchedule(NoiseSchedule):
    """sqrt(beta) in equal steps (Ho et al. 2020, code: `quad`)."""

    def __init__(self, num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02):
        if min(beta_start, beta_end) < 0:
            raise ConfigError(
                f"expected beta_start and beta_end of QuadraticSchedule in [0, 1], got {beta_start:g} and {beta_end:g}"
            )
        super().__init__(linspace(math.sqrt(beta_start), math.sqrt(beta_end), num_steps) ** 2)


class ConstantSchedule(NoiseSchedule):
    """The same beta at every step (Ho et al. 2020, code: `const`)."""

    def __init__(self, num_steps: int = 1000, beta: float = 0.02):
        super().__init__(linspace(beta, beta, num_steps))


class WarmupSchedule(NoiseSchedule):
    """Linear over the first `fraction` of the steps, then constant (Ho et al. 2020, code: `warmup10`, `warmup50`)."""

    def __init__(self, num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02, fraction: float = 0.1):
        if not 0 <= fraction <= 1:
            raise ConfigError(f"WarmupSchedule.fraction: expected a number in [0, 1], got {fraction:g}; use 0.1 or 0.5")
        betas = linspace(beta_end, beta_end, num_steps)
        warmup = int(num_steps * fraction)
        betas[:warmup] = linspace(beta_start, beta_end, warmup)
        super().__init__(betas)


class JSDSchedule(NoiseSchedule):
    """beta_t = 1 / (T - t + 1): 1/T, 1/(T-1), ..., 1 (Sohl-Dickstein et al. 2015; Ho et al. 2020, code: `jsd`).

    It erases an equal share of the initial signal at each step, and all of it by the end: alpha_bar_T = 0.
    """

    def __init__(self, num_steps: int = 1000):
        super().__init__(1 / torch.arange(max(num_steps, 0), 0, -1, dtype=torch.float64))


class CosineSchedule(NoiseSchedule):
    """alpha_bar(u) = cos^2((u + s) / (1 + s) pi / 2), u = t / T, beta <= max_beta (Nichol & Dhariwal 2021, eq. 17)."""

    def __init__(self, num_steps: int = 1000, s: float = 0.008, max_beta: float = 0.999):
        super().__init__(compute_betas(lambda u: torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2, num_steps, max_beta))


class SigmoidSchedule(NoiseSchedule):
    """alpha_bar(u) falls as a sigmoid of u = t / T between `start` and `end`, scaled to run from 1 to 0; tau: its width

    Jabri et al. 2022 (arXiv 2212.11972), in the form of Chen 2023 (arXiv 2301.10972, algorithm 1). beta <= max_beta.
    """

    def __init__(
        self, num_steps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0, max_beta: float = 0.999
    ):
        if not (start < end and tau > 0):
            raise ConfigError(
                f"expected start < end and tau > 0 for SigmoidSchedule, got {start:g}, {end:g} and {tau:g}; use "
                "start: -3, end: 3, tau: 1"
            )

        def alpha_bar(u: Tensor) -> Tensor:
            low, high = (torch.sigmoid(torch.tensor(v / tau, dtype=torch.float64)) for v in (start, end))
            return (high - torch.sigmoid((u * (end - start) + start) / tau)) / (high - low)

        super().__init__(compute_betas(alpha_bar, num_steps, max_beta))


class LogSNRSchedule(NoiseSchedule):
    """log SNR falls in equal steps: 1 / SNR = (1 - alpha_bar) / alpha_bar grows from `first_noise` at t = 1 to
    `last_noise` at T by equal factors. For data with details much finer than their extent: choose first_noise well
    below the square of the finest detail.
    """

    def __init__(self, num_steps: int = 1000, first_noise: float = 1e-4, last_noise: float = 1e4):
        if not 0 < first_noise <= last_noise < math.inf:
            raise ConfigError(
                f"expected 0 < first_noise <= last_noise for LogSNRSchedule, got {first_noise:g} and {last_noise:g}; "
                "use first_noise: 1e-4, last_noise: 1e4"
            )
        log_alpha_bar = -torch.log1p(linspace(math.log(first_noise), math.log(last_noise), num_steps).exp())
        before = torch.cat([torch.zeros(min(1, max(num_steps, 0)), dtype=torch.float64), log_alpha_bar[:-1]])
        super().__init__(-torch.expm1(log_alpha_bar - before))


class TabulatedSchedule(NoiseSchedule):
    """A list of beta_1..beta_T, for example from the checkpoint of another code base."""

    def __init__(self, betas: list[float]):
        super().__init__(torch.tensor(betas, dtype=torch.float64))


def linspace(start: float, end: float, num_steps: int) -> Tensor:
    """(num_steps,) float64; empty if num_steps is not positive, which NoiseSchedule refuses."""
    return torch.linspace(start, end, max(num_steps, 0), dtype=torch.float64)


def compute_betas(alpha_bar: Callable[[Tensor], Tensor], num_steps: int, max_beta: float) -> Tensor:
    """beta_t = min(1 - alpha_bar(t/T) / alpha_bar((t-1)/T), max_beta) for a curve on [0, 1]: (T,) float64."""
    u = torch.linspace(0, 1, max(num_steps, 0) + 1, dtype=torch.float64)
    curve = alpha_bar(u)
    return (1 - curve[1:] / curve[:-1]).clamp(max=max_beta)
