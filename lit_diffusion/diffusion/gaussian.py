"""The reverse model of real values and of images of many levels (Ho et al. 2020, section 3.2)."""

from collections.abc import Callable
from functools import cached_property

from torch import Tensor, nn

from lit_diffusion.diffusion.decoder import Decoder, DiscretizedGaussian
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.diffusion.parameterization import Epsilon, Parameterization
from lit_diffusion.diffusion.process import GaussianProcess
from lit_diffusion.diffusion.reverse import NetworkReverse, Prediction
from lit_diffusion.diffusion.variance import BetaVariance, Variance
from lit_diffusion.errors import ConfigError


class GaussianReverse(NetworkReverse):
    """p(x_s | x_t) = N(mu(x_t, t), sigma_t^2)  (Ho et al. 2020, section 3.2).

    network: called once with (input channels, output channels) and returns a module that is called with x_t
        (B, C, H, W) and the index t - 1 (B,). A learned variance doubles the output channels and nothing else changes.
    channels: C of the images.
    clip_x_0: clip the predicted x_0 to [-1, 1] in sampling and in evaluation, never in training.

    Raises ConfigError where the parameterization cannot work with the schedule.
    """

    def __init__(
        self,
        process: GaussianProcess,
        network: Callable[[int, int], nn.Module],
        parameterization: Parameterization = Epsilon(),
        variance: Variance = BetaVariance(),
        decoder: Decoder = DiscretizedGaussian(),
        channels: int = 3,
        clip_x_0: bool = True,
    ):
        parameterization.check(process)
        super().__init__(process, network, channels, 2 * channels if variance.learned else channels, variance)
        self.parameterization = parameterization
        self.variance = variance
        self.decoder = decoder
        self.clip_x_0 = clip_x_0

    @property
    def has_eps(self) -> bool:
        return True

    @property
    def learns_variance(self) -> bool:
        return self.variance.learned

    @property
    def protocol(self) -> dict[str, object]:
        return {"variance": type(self.variance).__name__, "clip_x_0": self.clip_x_0}

    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> "GaussianPrediction":
        """One evaluation of the network; `clip` asks for what sampling and evaluation use, if the model clips."""
        output = self.evaluate(x_t, t)
        raw_variance = None
        if self.variance.learned:
            output, raw_variance = output.chunk(2, dim=1)
        output = self.parameterization.read(
            output, x_t, lambda: self.variance(self.process, x_t, t, t - 1, raw_variance)
        )
        return GaussianPrediction(self, x_t, t, output, raw_variance, clip and self.clip_x_0)

    def reconstruction_nll(self, x_0: Tensor, p: Gaussian) -> Tensor:
        """-log p(x_0 | x_1) in nats, (B, *), by the discretized decoder."""
        return self.decoder.nll(x_0, p)

    def check_levels(self, num_levels: int | None) -> None:
        if num_levels != self.decoder.num_levels:
            raise ConfigError(
                f"the data has {levels_of(num_levels)}, the decoder {levels_of(self.decoder.num_levels)}; write "
                + (f"num_levels: {num_levels}" if num_levels else "GaussianDensity"),
                key="model.reverse.decoder.num_levels" if num_levels else "model.reverse.decoder",
            )
        if num_levels is None and self.clip_x_0:
            raise ConfigError(
                "real-valued data is not confined to [-1, 1]; write clip_x_0: false", key="model.reverse.clip_x_0"
            )


class GaussianPrediction(Prediction):
    """What one evaluation of the network says about x_0, eps and any earlier x_s.

    output: what the network predicted, in its parameterization, (B, *); never clipped.
    x_0: the clean image it stands for, (B, *); clipped to [-1, 1] if the prediction was made with `clip`.
    """

    def __init__(
        self,
        reverse: GaussianReverse,
        x_t: Tensor,
        t: Tensor,
        output: Tensor,
        raw_variance: Tensor | None,
        clip: bool = False,
    ):
        self.reverse, self.x_t, self.t, self.output = reverse, x_t, t, output
        self._raw_variance, self._clip = raw_variance, clip

    @cached_property
    def x_0(self) -> Tensor:
        """The predicted clean image, (B, *)."""
        return self._unclipped.clamp(-1, 1) if self._clip else self._unclipped

    @cached_property
    def _unclipped(self) -> Tensor:
        return self.reverse.parameterization.to_x_0(self.reverse.process, self.output, self.x_t, self.t)

    @property
    def eps(self) -> Tensor:
        """The predicted noise, (B, *), consistent with `x_0`."""
        process = self.reverse.process
        if self._clip:
            return process.eps(self.x_0, self.x_t, self.t)
        return self.reverse.parameterization.to_eps(process, self.output, self.x_t, self.t)

    def transition(self, s: Tensor) -> Gaussian:
        """p(x_s | x_t) for steps s (B,), s < t: the posterior of the predicted x_0, with the model's variance."""
        reverse = self.reverse
        x_0 = self.x_0 if reverse.parameterization.clips_mean else self._unclipped
        mean = reverse.process.posterior(x_0, self.x_t, self.t, s).mean
        return Gaussian(mean, reverse.variance(reverse.process, self.x_t, self.t, s, self._raw_variance))

    def simple_loss(self, x_0: Tensor, noise: Tensor) -> Tensor:
        """The squared error on the network's own target, (B, *)  (Ho et al. 2020, eq. 14)."""
        reverse = self.reverse
        return (reverse.parameterization.target(reverse.process, x_0, self.x_t, noise, self.t) - self.output) ** 2

    def detach_mean(self) -> "GaussianPrediction":
        """The same prediction, whose gradient reaches the network through the variance only."""
        return GaussianPrediction(self.reverse, self.x_t, self.t, self.output.detach(), self._raw_variance, self._clip)


def levels_of(num_levels: int | None) -> str:
    """In words."""
    return "real values" if num_levels is None else f"{num_levels} levels"
