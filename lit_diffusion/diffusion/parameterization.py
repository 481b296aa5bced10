"""What the network predicts, and how x_0 follows from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from lit_diffusion.diffusion.process import GaussianProcess
from lit_diffusion.diffusion.schedule import spread
from lit_diffusion.errors import ConfigError

# The smallest alpha_bar from which x_0 follows in float32: below it, 1 / sqrt(alpha_bar) overflows when squared.
SMALLEST_SIGNAL = torch.finfo(torch.float32).tiny


class Parameterization(ABC):
    """A quantity that is an affine function of x_0 given x_t, and so determines it.

    Images are (B, *); t is (B,) in 1..T. clips_mean: whether clipping the predicted x_0 to [-1, 1] also moves the mean
    of the reverse step.
    """

    clips_mean = True

    def read(self, output: Tensor, x_t: Tensor, variance: Callable[[], Tensor]) -> Tensor:
        """The prediction (B, *) from the network's first output. variance: computes that of the reverse step."""
        return output

    def check(self, process: GaussianProcess) -> None:
        """Raises ConfigError if x_0 does not follow from the prediction at some step of the schedule."""

    @abstractmethod
    def target(self, process: GaussianProcess, x_0: Tensor, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What the network should output for x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps."""

    @abstractmethod
    def to_x_0(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The x_0 that follows from an output.

        >>> from lit_diffusion.diffusion import GaussianProcess, LinearSchedule
        >>> process, t = GaussianProcess(LinearSchedule()), torch.tensor([500])
        >>> x_0, eps = torch.tensor([[0.5]]), torch.tensor([[-1.0]])
        >>> x_t = process.marginal(x_0, t).rsample(eps)
        >>> Epsilon().to_x_0(process, eps, x_t, t)
        tensor([[0.5000]])
        """

    def to_eps(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The eps that follows from an output."""
        return process.eps(self.to_x_0(process, output, x_t, t), x_t, t)

    @abstractmethod
    def sensitivity(self, process: GaussianProcess, t: Tensor) -> Tensor:
        """Squared error of the output for a unit squared error of x_0: (B,) float64."""


class PosteriorMean(Parameterization):
    """The mean mu~ of q(x_{t-1} | x_t, x_0)  (Ho et al. 2020, eq. 8).

    As in the released code, clipping touches the reported x_0 only and never the mean.
    """

    clips_mean = False

    def check(self, process: GaussianProcess) -> None:
        t = process.schedule.steps()
        lost = process.posterior_coefficients(t, t - 1)[0] ** 2 < SMALLEST_SIGNAL
        if lost.any():
            raise ConfigError(
                f"PosteriorMean does not determine x_0 at step {int(t[lost][0])} of {type(process.schedule).__name__}, "
                "where beta is 0 or no signal is left; use CleanImage or Velocity, or another schedule"
            )

    def target(self, process: GaussianProcess, x_0: Tensor, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return process.posterior(x_0, x_t, t, t - 1).mean

    def to_x_0(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        c_0, c_t, _ = process.posterior_coefficients(t, t - 1)
        return spread(1 / c_0, x_t) * output - spread(c_t / c_0, x_t) * x_t

    def sensitivity(self, process: GaussianProcess, t: Tensor) -> Tensor:
        return process.posterior_coefficients(t, t - 1)[0] ** 2


class Attractor(PosteriorMean):
    """The point z_mu towards which x_t moves by the fraction Sigma: mu = (x_t - z_mu) (1 - Sigma) + z_mu.

    Sohl-Dickstein et al. 2015, appendix D.2.1, where Sigma is a `SigmoidVariance`. It is another form of mu~: a
    network that returns z_mu = 0 only shrinks x_t.
    """

    def read(self, output: Tensor, x_t: Tensor, variance: Callable[[], Tensor]) -> Tensor:
        return (x_t - output) * (1 - variance()) + output


class CleanImage(Parameterization):
    """x_0 itself (Ho et al. 2020, section 3.2)."""

    def target(self, process: GaussianProcess, x_0: Tensor, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return x_0

    def to_x_0(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return output

    def sensitivity(self, process: GaussianProcess, t: Tensor) -> Tensor:
        return torch.ones_like(process.schedule.alpha_bar(t))


class Epsilon(Parameterization):
    """eps (Ho et al. 2020, eq. 11)."""

    def check(self, process: GaussianProcess) -> None:
        t = process.schedule.steps()
        alpha_bar = process.schedule.alpha_bar(t)
        lost = alpha_bar < SMALLEST_SIGNAL
        if lost.any():
            raise ConfigError(
                f"Epsilon does not determine x_0 at step {int(t[lost][0])} of {type(process.schedule).__name__}, where "
                f"alpha_bar is {alpha_bar[lost][0]:.1g}; use CleanImage, PosteriorMean or Velocity, or another schedule"
            )

    def target(self, process: GaussianProcess, x_0: Tensor, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return eps

    def to_x_0(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        alpha_bar, sigma2 = process.schedule.alpha_bar(t), process.schedule.sigma2(t)
        return spread(alpha_bar.rsqrt(), x_t) * x_t - spread((sigma2 / alpha_bar).sqrt(), x_t) * output

    def to_eps(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return output

    def sensitivity(self, process: GaussianProcess, t: Tensor) -> Tensor:
        return process.schedule.log_snr(t).exp()


class Velocity(Parameterization):
    """v = sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x_0  (Salimans & Ho 2022, arXiv 2202.00512, section 4)."""

    def target(self, process: GaussianProcess, x_0: Tensor, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self._amplitudes(process, x_0, t)
        return signal * eps - sigma * x_0

    def to_x_0(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self._amplitudes(process, x_t, t)
        return signal * x_t - sigma * output

    def to_eps(self, process: GaussianProcess, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self._amplitudes(process, x_t, t)
        return sigma * x_t + signal * output

    def sensitivity(self, process: GaussianProcess, t: Tensor) -> Tensor:
        return 1 / process.schedule.sigma2(t)

    @staticmethod
    def _amplitudes(process: GaussianProcess, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        schedule = process.schedule
        return spread(schedule.alpha_bar(t).sqrt(), x), spread(schedule.sigma2(t).sqrt(), x)
