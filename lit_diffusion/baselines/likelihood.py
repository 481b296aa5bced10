"""p(x_0 | z): what the output of a decoder network says about an example."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lit_diffusion.diffusion.decoder import (
    UNIT_LOGISTIC,
    Decoder,
    DiscretizedGaussian,
    DiscretizedLogistic,
    GaussianDensity,
)
from lit_diffusion.diffusion.distributions import Bernoulli, Gaussian
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_float, to_levels


class Likelihood(nn.Module, ABC):
    """p(x_0 | z) of examples (B, C, *), independent for every value given the decoder network's output.

    num_levels: of the data; None for real values. outputs: the network has outputs * C channels, (B, outputs * C, *).
    """

    num_levels: int | None
    outputs: int = 1

    @abstractmethod
    def element_nll(self, x_0: Tensor, output: Tensor) -> Tensor:
        """-log p(x_0 | z) in nats, element-wise, (B, C, *)."""

    def nll(self, x_0: Tensor, output: Tensor) -> Tensor:
        """-log p(x_0 | z) in nats, (B,)."""
        return self.element_nll(x_0, output).flatten(1).sum(1)

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The mean of p(x_0 | z), (B, C, *)."""

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw from p(x_0 | z), (B, C, *), on the levels of the data."""

    def outcome(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What is shown and scored, (B, C, *): the mean, as at the last step of a diffusion model."""
        return self.mean(output)

    def check_levels(self, num_levels: int | None) -> None:
        """Raises ConfigError unless the likelihood is for data with `num_levels` levels, None for real values."""
        if num_levels != self.num_levels:
            wanted = "real values" if num_levels is None else f"{num_levels} levels"
            found = "real values" if self.num_levels is None else f"{self.num_levels} levels"
            remedy = f"GaussianLikelihood with num_levels: {'null' if num_levels is None else num_levels}"
            raise ConfigError(
                f"expected {wanted}, which the data have, got {type(self).__name__} for {found}; use "
                + ("BernoulliLikelihood" if num_levels == 2 else remedy)
            )


class LocationScale(Likelihood):
    """A distribution around the network's output, with a learned standard deviation; the base class of two.

    num_levels: of the data, None for the density of real values. per_element: whether the network also predicts a
    standard deviation for every value, in a second half of its channels; otherwise one number is learned for the whole
    model. initial_scale: the standard deviation that training starts at. min_scale: a smooth lower bound, below which a
    density could grow without limit (Rybkin et al. 2021, section 3.3).
    """

    decoder: Decoder

    def __init__(
        self,
        num_levels: int | None = 256,
        per_element: bool = False,
        initial_scale: float = 0.5,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        name = type(self).__name__
        if not 0 < min_scale < initial_scale < math.inf:
            raise ConfigError(
                f"{name}.initial_scale: expected a number above min_scale = {min_scale:g}, which is above 0; got "
                f"{initial_scale:g}"
            )
        self.num_levels, self.per_element = num_levels, per_element
        self.outputs = 2 if per_element else 1
        self._lowest = math.log(min_scale)
        above = math.log(initial_scale) - self._lowest
        self._start = self._lowest + above + math.log(-math.expm1(-above))  # softplus(start - lowest) = above
        if not per_element:
            self.log_scale = nn.Parameter(torch.tensor([self._start]))

    def gaussian(self, output: Tensor) -> Gaussian:
        """Location and standard deviation, over (B, C, *)."""
        location, raw = output.chunk(2, dim=1) if self.per_element else (output, None)
        raw = self.log_scale if raw is None else raw + self._start
        log_scale = self._lowest + softplus(raw - self._lowest)
        return Gaussian(location, log_variance=(2 * log_scale).to(location.dtype).expand_as(location))

    def element_nll(self, x_0: Tensor, output: Tensor) -> Tensor:
        return self.decoder.nll(x_0, self.gaussian(output))

    def mean(self, output: Tensor) -> Tensor:
        return output.chunk(2, dim=1)[0] if self.per_element else output

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        gaussian = self.gaussian(output)
        x_0 = gaussian.rsample(self.noise(gaussian.mean, generator))
        return x_0 if self.num_levels is None else to_float(to_levels(x_0, self.num_levels), self.num_levels).to(x_0)

    @staticmethod
    @abstractmethod
    def noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draws of mean 0 and variance 1 with the shape, type and device of `like`."""


class GaussianLikelihood(LocationScale):
    """A Gaussian: its mass in each level's bin, or its density for num_levels: null.

    >>> likelihood = GaussianLikelihood(num_levels=3)
    >>> levels = torch.tensor([[-1.0], [0.0], [1.0]])
    >>> p = (-likelihood.nll(levels, torch.zeros(3, 1))).exp()  # standard deviation 0.5, edges at -0.5 and 0.5
    >>> p.tolist()  # doctest: +ELLIPSIS
    [0.158..., 0.682..., 0.158...]
    """

    def __init__(
        self,
        num_levels: int | None = 256,
        per_element: bool = False,
        initial_scale: float = 0.5,
        min_scale: float = 1e-3,
    ):
        super().__init__(num_levels, per_element, initial_scale, min_scale)
        self.decoder = GaussianDensity() if num_levels is None else DiscretizedGaussian(num_levels)

    @staticmethod
    def noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
        return Gaussian.draw_base(like, generator)


class LogisticLikelihood(LocationScale):
    """A logistic distribution's mass in each level's bin; its standard deviation is what is learned and bounded."""

    def __init__(
        self,
        num_levels: int = 256,
        per_element: bool = False,
        initial_scale: float = 0.5,
        min_scale: float = 1e-3,
    ):
        super().__init__(num_levels, per_element, initial_scale, min_scale)
        self.decoder = DiscretizedLogistic(num_levels)

    @staticmethod
    def noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
        u = Bernoulli.draw_base(like, generator).clamp(min=torch.finfo(like.dtype).tiny)
        return (u.log() - torch.log1p(-u)) / UNIT_LOGISTIC


class BernoulliLikelihood(Likelihood):
    """Binary values -1 and 1: the network's output is the logit of p(1)."""

    num_levels = 2

    def element_nll(self, x_0: Tensor, output: Tensor) -> Tensor:
        return softplus(-x_0 * output)

    def mean(self, output: Tensor) -> Tensor:
        return torch.tanh(output / 2)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return Bernoulli(output.sigmoid(), (-output).sigmoid()).sample(generator)

    def outcome(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw, since the mean is not a binary value."""
        return self.sample(output, generator)
