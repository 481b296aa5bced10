"""The reverse model of real values and of images of many levels (Ho et al. 2020, section 3.2)."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.condition import Condition
from lit_diffusion.diffusion.decoder import Decoder, DiscretizedGaussian
from lit_diffusion.diffusion.distributions import Distribution, Gaussian
from lit_diffusion.diffusion.network_reverse import NetworkReverse
from lit_diffusion.diffusion.parameterization import Epsilon, Parameterization
from lit_diffusion.diffusion.process import GaussianProcess
from lit_diffusion.diffusion.reverse import ReversePrediction
from lit_diffusion.diffusion.variance import BetaVariance, Variance
from lit_diffusion.errors import ConfigError


class GaussianReverse(NetworkReverse):
    """p(x_s | x_t) = N(mu(x_t, t), sigma_t^2)  (Ho et al. 2020, section 3.2).

    network: called once with (input channels, output channels); returns a module that is called with x_t (B, C, H, W)
        and the index t - 1 (B,). A learned variance doubles the output channels and changes nothing else.
    decoder: p(x_0 | x_1), the last term of the bound.
    channels: C of the images.
    clip_x_0: clip the predicted x_0 to [-1, 1] in sampling and in evaluation, never in training.

    Raises ConfigError if the parameterization does not work with the schedule.
    """

    process: GaussianProcess

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
        self.variance = variance.for_decoder(decoder)
        self.decoder = decoder
        self.clip_x_0 = clip_x_0

    @property
    def has_eps(self) -> bool:
        return True

    @property
    def learns_variance(self) -> bool:
        return self.variance.learned

    @property
    def passes_schedule_gradient(self) -> bool:
        return True

    @property
    def protocol(self) -> dict[str, object]:
        return {**self.variance.protocol(self.process), "clip_x_0": self.clip_x_0}

    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> "GaussianPrediction":
        output = self.evaluate(x_t, t)
        raw_variance = None
        if self.variance.learned:
            output, raw_variance = output.chunk(2, dim=1)
        output = self.parameterization.read(
            output, x_t, lambda: self.variance(self.process, x_t, t, t - 1, raw_variance)
        )
        return GaussianPrediction(self, x_t, t, output, raw_variance, clip and self.clip_x_0)

    def reconstruction_nll(self, x_0: Tensor, p: Distribution) -> Tensor:
        """-log p(x_0 | x_1) in nats, (B, *), by the decoder."""
        return self.decoder.nll(x_0, cast(Gaussian, p))  # as `transition` returns it

    def target_sensitivity(self, t: Tensor) -> Tensor:
        return self.parameterization.sensitivity(self.process, t)

    def bound_sensitivity(self, t: Tensor) -> Tensor:
        c_0, _, _ = self.process.posterior_coefficients(t, t - 1)
        variance = self.variance(self.process, torch.zeros_like(c_0), t, t - 1, None)
        active = variance > 0
        return torch.where(active, c_0**2 / (2 * torch.where(active, variance, 1)), 0)

    def check_levels(self, num_levels: int | None) -> None:
        if num_levels != self.decoder.num_levels:
            raise ConfigError(
                f"expected a decoder for the data's {describe_levels(num_levels)}, got one for "
                f"{describe_levels(self.decoder.num_levels)}; "
                + (f"set num_levels: {num_levels}" if num_levels else "use GaussianDensity"),
                key="model.reverse.decoder.num_levels" if num_levels else "model.reverse.decoder",
            )
        if num_levels is None and self.clip_x_0:
            raise ConfigError(
                "expected false, since real values are not confined to [-1, 1], got true; set clip_x_0: false",
                key="model.reverse.clip_x_0",
            )


class GaussianPrediction(ReversePrediction):
    """What one evaluation of the network says about x_0, eps and any earlier x_s.

    output: the network's output, in its parameterization, (B, *); never clipped.
    x_0: the clean image that follows from it, (B, *); clipped to [-1, 1] if the prediction was made with `clip`.
    """

    reverse: GaussianReverse

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
        self._unclipped: Tensor | None = None
        self._x_0: Tensor | None = None

    @property
    def x_0(self) -> Tensor:
        if self._x_0 is None:
            self._x_0 = self.unclipped_x_0.clamp(-1, 1) if self._clip else self.unclipped_x_0
        return self._x_0

    @property
    def unclipped_x_0(self) -> Tensor:
        """x_0 before clipping, (B, *), computed when first needed: not every training step needs it."""
        if self._unclipped is None:
            reverse = self.reverse
            self._unclipped = reverse.parameterization.to_x_0(reverse.process, self.output, self.x_t, self.t)
        return self._unclipped

    @property
    def eps(self) -> Tensor:
        process = self.reverse.process
        if self._clip:
            return process.eps(self.x_0, self.x_t, self.t)
        return self.reverse.parameterization.to_eps(process, self.output, self.x_t, self.t)

    def transition(self, s: Tensor) -> Gaussian:
        """p(x_s | x_t) for steps s (B,), s < t: the posterior of the predicted x_0, with the model's variance."""
        reverse = self.reverse
        x_0 = self.x_0 if reverse.parameterization.clips_mean else self.unclipped_x_0
        mean = reverse.process.posterior(x_0, self.x_t, self.t, s).mean
        return reverse.variance.gaussian(mean, reverse.process, self.x_t, self.t, s, self._raw_variance)

    def simple_loss(self, x_0: Tensor, base: Tensor) -> Tensor:
        """The squared error of the network's target, (B, *)  (Ho et al. 2020, eq. 14). base: eps."""
        reverse = self.reverse
        return (reverse.parameterization.target(reverse.process, x_0, self.x_t, base, self.t) - self.output) ** 2

    def detach_mean(self) -> "GaussianPrediction":
        return GaussianPrediction(self.reverse, self.x_t, self.t, self.output.detach(), self._raw_variance, self._clip)

    def multiply(self, condition: Condition, covariance: Callable[[], Tensor]) -> "ConditionedPrediction":
        x_0 = condition.gaussian(self.x_0.flatten(1), covariance()).view_as(self.x_t)
        return ConditionedPrediction(self, x_0)


class ConditionedPrediction(ReversePrediction):
    """A Gaussian model's prediction with the mean of p(x_0 | x_t) r(x_0) as its x_0, (B, *)."""

    reverse: GaussianReverse

    def __init__(self, prediction: "GaussianPrediction | ConditionedPrediction", x_0: Tensor):
        self._prediction, self._x_0 = prediction, x_0
        self.reverse, self.x_t, self.t = prediction.reverse, prediction.x_t, prediction.t
        self.output = prediction.output

    @property
    def x_0(self) -> Tensor:
        return self._x_0

    @property
    def eps(self) -> Tensor:
        return self.reverse.process.eps(self.x_0, self.x_t, self.t)

    def transition(self, s: Tensor) -> Gaussian:
        """The posterior of `x_0`, with the model's variance."""
        mean = self.reverse.process.posterior(self.x_0, self.x_t, self.t, s).mean
        return self._prediction.transition(s).with_mean(mean)

    def simple_loss(self, x_0: Tensor, base: Tensor) -> Tensor:
        return self._prediction.simple_loss(x_0, base)

    def multiply(self, condition: Condition, covariance: Callable[[], Tensor]) -> "ConditionedPrediction":
        return ConditionedPrediction(self, condition.gaussian(self.x_0.flatten(1), covariance()).view_as(self.x_t))


def describe_levels(num_levels: int | None) -> str:
    """The number of levels in words."""
    return "real values" if num_levels is None else f"{num_levels} levels"
