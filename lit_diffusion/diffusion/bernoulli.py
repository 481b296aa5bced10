"""The reverse model of binary data (Sohl-Dickstein et al. 2015, table App.1)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lit_diffusion.diffusion.distributions import Bernoulli, Distribution
from lit_diffusion.diffusion.process import BinomialProcess
from lit_diffusion.diffusion.reverse import NetworkReverse, Prediction
from lit_diffusion.errors import ConfigError

SINGLE_STEPS = "PreviousBit knows single steps only; write CleanBit, or a sampler over all steps (steps: null)"


class BitParameterization(ABC):
    """Which value the network's output (B, *) is the logit of."""

    def check_steps(self, steps: Sequence[int]) -> None:
        """Raises ConfigError where there is no `transition` down that ascending subset of 1..T."""

    @abstractmethod
    def transition(self, process: BinomialProcess, bit: Bernoulli, x_t: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        """p(x_s | x_t), if `bit` is the distribution that the output stands for."""

    @abstractmethod
    def target(self, process: BinomialProcess, x_0: Tensor, x_t: Tensor, t: Tensor) -> Distribution:
        """The distribution that the output should stand for, if x_t came from x_0."""


class CleanBit(BitParameterization):
    """x_0: p(x_s | x_t) is the mean of the posterior q(x_s | x_t, x_0) over its two values, for any s < t."""

    def transition(self, process: BinomialProcess, bit: Bernoulli, x_t: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        up, down = (process.posterior(torch.full_like(x_t, value), x_t, t, s) for value in (1.0, -1.0))
        return Bernoulli(
            bit.rate * up.rate + bit.complement * down.rate,
            bit.rate * up.complement + bit.complement * down.complement,
        )

    def target(self, process: BinomialProcess, x_0: Tensor, x_t: Tensor, t: Tensor) -> Distribution:
        one = (x_0 > 0).to(x_0)
        return Bernoulli(one, 1 - one)


class PreviousBit(BitParameterization):
    """x_{t-1} itself, the f_b of Sohl-Dickstein et al. 2015: for chains over all the steps."""

    def transition(self, process: BinomialProcess, bit: Bernoulli, x_t: Tensor, t: Tensor, s: Tensor) -> Bernoulli:
        if not torch.equal(s, t - 1):
            raise ConfigError(SINGLE_STEPS)
        return bit

    def check_steps(self, steps: Sequence[int]) -> None:
        if list(steps) != [*range(1, len(steps) + 1)]:
            raise ConfigError(SINGLE_STEPS)

    def target(self, process: BinomialProcess, x_0: Tensor, x_t: Tensor, t: Tensor) -> Distribution:
        return process.posterior(x_0, x_t, t, t - 1)


class BernoulliReverse(NetworkReverse):
    """p(x_s | x_t), a Bernoulli for each value of x in {-1, 1}  (Sohl-Dickstein et al. 2015, section 2.2).

    network: called once with (channels, channels); its output (B, C, *) is the logit of P(1) of what `parameterization`
        says. channels: C of the images, or the length of sequences.
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
                f"the data has {found}, and BernoulliReverse is of binary data; write data of two levels, as "
                "BinarizedDigits, or GaussianReverse",
                key="model.reverse",
            )


class BernoulliPrediction(Prediction):
    """What one evaluation of the network says about any earlier x_s. output: logits, (B, *)."""

    def __init__(self, reverse: BernoulliReverse, x_t: Tensor, t: Tensor, output: Tensor):
        self.reverse, self.x_t, self.t, self.output = reverse, x_t, t, output

    @cached_property
    def bit(self) -> Bernoulli:
        """The distribution of what the network predicts."""
        return Bernoulli(self.output.sigmoid(), (-self.output).sigmoid())

    @property
    def x_0(self) -> Tensor:
        """The mean of what the network predicts, (B, *): of x_0, or of x_{t-1} for `PreviousBit`."""
        return self.bit.mean

    def transition(self, s: Tensor) -> Bernoulli:
        """p(x_s | x_t) for steps s (B,), s < t."""
        reverse = self.reverse
        return reverse.parameterization.transition(reverse.process, self.bit, self.x_t, self.t, s)

    def simple_loss(self, x_0: Tensor, noise: Tensor) -> Tensor:
        """Cross entropy of the network's own target, in nats, (B, *)."""
        target = self.reverse.parameterization.target(self.reverse.process, x_0, self.x_t, self.t)
        return target.rate * softplus(-self.output) + target.complement * softplus(self.output)
