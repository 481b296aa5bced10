"""The reverse model of binary data (Sohl-Dickstein et al. 2015, table App.1)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lit_diffusion.diffusion.condition import Condition
from lit_diffusion.diffusion.distributions import Bernoulli, Distribution
from lit_diffusion.diffusion.network_reverse import NetworkReverse
from lit_diffusion.diffusion.process import BinomialProcess
from lit_diffusion.diffusion.reverse import ReversePrediction
from lit_diffusion.diffusion.schedule import spread
from lit_diffusion.errors import ConfigError

SINGLE_STEPS = "expected all T steps for PreviousBit, got a chain that skips some; set steps: null, or train CleanBit"


class BitParameterization(ABC):
    """The binary value whose logit the network's output (B, *) is. predicts_x_0: whether that is x_0."""

    predicts_x_0 = True

    def check_steps(self, steps: Sequence[int]) -> None:
        """Raises ConfigError if there is no `transition` along this ascending subset of 1..T."""

    @abstractmethod
    def transition(self, process: BinomialProcess, bit: Bernoulli, x_t: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        """p(x_s | x_t) for the predicted distribution `bit`."""

    @abstractmethod
    def target(self, process: BinomialProcess, x_0: Tensor, x_t: Tensor, t: Tensor) -> Bernoulli:
        """The distribution that the network should predict if x_t came from x_0."""


class CleanBit(BitParameterization):
    """x_0: p(x_s | x_t) is the mean of the posterior q(x_s | x_t, x_0) over its two values, for any s < t."""

    def transition(self, process: BinomialProcess, bit: Bernoulli, x_t: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        up, down = (process.posterior(torch.full_like(x_t, value), x_t, t, s) for value in (1.0, -1.0))
        return Bernoulli(
            bit.rate * up.rate + bit.complement * down.rate,
            bit.rate * up.complement + bit.complement * down.complement,
        )

    def target(self, process: BinomialProcess, x_0: Tensor, x_t: Tensor, t: Tensor) -> Bernoulli:
        one = (x_0 > 0).to(x_0)
        return Bernoulli(one, 1 - one)


class PreviousBit(BitParameterization):
    """x_{t-1} itself, the f_b of Sohl-Dickstein et al. 2015, for chains over all T steps."""

    predicts_x_0 = False

    def transition(self, process: BinomialProcess, bit: Bernoulli, x_t: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        """`bit` itself; NaN where s is not t - 1, since raising an error would wait for the device."""
        single = spread(s == t - 1, x_t)
        return Bernoulli(*(torch.where(single > 0, rate, torch.nan) for rate in (bit.rate, bit.complement)))

    def check_steps(self, steps: Sequence[int]) -> None:
        if list(steps) != [*range(1, len(steps) + 1)]:
            raise ConfigError(SINGLE_STEPS)

    def target(self, process: BinomialProcess, x_0: Tensor, x_t: Tensor, t: Tensor) -> Bernoulli:
        return process.posterior(x_0, x_t, t, t - 1)


class BernoulliReverse(NetworkReverse):
    """p(x_s | x_t), a Bernoulli for each value of x in {-1, 1}  (Sohl-Dickstein et al. 2015, section 2.2).

    network: called once with (channels, channels); its output (B, C, *) is the logit of P(1) of the value that
        `parameterization` names. channels: C of the images, or the length of sequences.
    """

    process: BinomialProcess

    def __init__(
        self,
        process: BinomialProcess,
        network: Callable[[int, int], nn.Module],
        parameterization: BitParameterization = CleanBit(),
        channels: int = 1,
    ):
        super().__init__(process, network, channels, channels, self)
        self.parameterization = parameterization

    @property
    def predicts_x_0(self) -> bool:
        return self.parameterization.predicts_x_0

    def predict(self, x_t: Tensor, t: Tensor, clip: bool = False) -> "BernoulliPrediction":
        """One evaluation of the network; there is nothing to clip."""
        return BernoulliPrediction(self, x_t, t, self.evaluate(x_t, t))

    @property
    def protocol(self) -> dict[str, object]:
        return {"rate": self.process.rate, "parameterization": type(self.parameterization).__name__}

    def reconstruction_nll(self, x_0: Tensor, p: Distribution) -> Tensor:
        """-log p(x_0 | x_1) in nats, (B, *)."""
        return -p.log_prob(x_0)

    def check_steps(self, steps: Sequence[int]) -> None:
        self.parameterization.check_steps(steps)

    def check_levels(self, num_levels: int | None) -> None:
        if num_levels != 2:
            found = "real values" if num_levels is None else f"{num_levels} levels"
            raise ConfigError(
                f"expected binary data for BernoulliReverse, got {found}; use data of two levels, such as "
                "BinarizedDigits, or GaussianReverse",
                key="model.reverse",
            )


class BernoulliPrediction(ReversePrediction):
    """What one evaluation of the network says about any earlier x_s.

    output: logits, (B, *). bit: the distribution with these logits, of x_0, or of x_{t-1} for `PreviousBit`.
    """

    reverse: BernoulliReverse

    def __init__(self, reverse: BernoulliReverse, x_t: Tensor, t: Tensor, output: Tensor):
        self.reverse, self.x_t, self.t, self.output = reverse, x_t, t, output
        self.bit = Bernoulli(output.sigmoid(), (-output).sigmoid())

    @property
    def x_0(self) -> Tensor:
        """The mean of the predicted value, (B, *): of x_0, or of x_{t-1} for `PreviousBit`."""
        return self.bit.mean

    def transition(self, s: Tensor) -> Bernoulli:
        """p(x_s | x_t) for steps s (B,), s < t."""
        reverse = self.reverse
        return reverse.parameterization.transition(reverse.process, self.bit, self.x_t, self.t, s)

    def simple_loss(self, x_0: Tensor, base: Tensor) -> Tensor:
        """Cross entropy of the network's target, in nats, (B, *)."""
        target = self.reverse.parameterization.target(self.reverse.process, x_0, self.x_t, self.t)
        return target.rate * softplus(-self.output) + target.complement * softplus(self.output)

    def multiply(self, condition: Condition, covariance: Callable[[], Tensor]) -> "BernoulliPrediction":
        """Adds the log odds of r to the logits."""
        odds = condition.log_odds(self.x_0.flatten(1)).view_as(self.x_t)
        return BernoulliPrediction(self.reverse, self.x_t, self.t, self.output + odds)
