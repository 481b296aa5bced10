"""The bound as a score: all its terms on many images, or an unbiased estimate from a few steps of each image.

The steps 1..T are cut into strata of neighbouring steps. For each image one term of each stratum is evaluated, at a
step drawn uniformly from it, and multiplied by the stratum's number of steps. With T strata these are all the terms.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lit_diffusion.diffusion.bound import bits_per_dim, bound_term, prior_kl
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.schedule import NoiseSchedule, spread

# Variance of the Gaussian data whose information the strata share. Larger values move strata to noisier steps, infinity
# makes them equal in log SNR. Estimates from 20 terms for models of digits vary least for 4 to 16, on four schedules.
DATA_VARIANCE = 4.0
GOLDEN = (math.sqrt(5) - 1) / 2  # the fractional parts of its multiples are even on [0, 1), however many are taken


def cut_strata(schedule: NoiseSchedule, terms: int | None = None) -> Tensor:
    """The first step of each of k = min(terms, T) strata, and T + 1: (k+1,) int64 on the CPU.

    The first stratum is t = 1 alone. The others, never empty, have nearly equal shares of the information that x_t has
    about Gaussian data of variance v, log(1 + v SNR_t) / 2. terms: k, or None for T strata of one step.
    """
    num_steps = schedule.num_steps
    if terms is None or terms >= num_steps:
        return torch.arange(1, num_steps + 2)
    log_snr = schedule.log_snr(schedule.steps()).clamp(max=100)  # infinite before the first noise
    information = softplus(log_snr + math.log(DATA_VARIANCE))
    lost = information[0] - information[1:]  # by step t = 2..T
    shares = lost[-1] * torch.arange(1, terms - 1) / (terms - 1)
    h = torch.arange(terms - 2)
    inner = (torch.searchsorted(lost, shares) + 2).clamp(min=3)
    # one step or more in each
    inner = torch.minimum((inner - h).cummax(0).values, torch.tensor(num_steps + 3 - terms)) + h
    return torch.cat([torch.tensor([1, 2]), inner, torch.tensor([num_steps + 1])])


class BoundSums:
    """Sums over (image, stratum) pairs, float64 on `device`; sums over parts of the pairs add up to those over all.

    first: from `cut_strata`. images: (N, 3) bits/dim, of each image L_T, the estimate of L_1 + .. + L_{T-1}, L_0.
    strata: (k, 6), the number of draws in each stratum, and over these the sums of y, y^2, y offset / size, e, e^2,
    where y is the term times the stratum's size in bits/dim, offset counts from the stratum's first step, and e is the
    mean squared error of the predicted x_0 on the [-1, 1] scale.
    """

    def __init__(self, first: Tensor, num_images: int, device: torch.device):
        self.first = first
        self.images = torch.zeros(num_images, 3, dtype=torch.float64, device=device)
        self.strata = torch.zeros(len(first) - 1, 6, dtype=torch.float64, device=device)

    def add_constant(self, nats: float, dimensions: int) -> None:
        """Adds nats to L_0 of every image, for values that were served on another scale than they are measured on."""
        bits = nats / (math.log(2) * dimensions)
        self.images[:, 2] += bits
        count, y = self.strata[0, 0], self.strata[0, 1]
        self.strata[0, 2] += bits * (2 * y + count * bits)
        self.strata[0, 1] += count * bits

    @torch.no_grad()
    def add(self, reverse: ReverseModel, x_0: Tensor, pairs: range, generator: torch.Generator) -> None:
        """Evaluates pairs number n, image n // k and stratum n % k, in one batch; all randomness from `generator`.

        reverse: given the labels of the images, if it takes any. x_0: (B, *), the images of these pairs, each once. The
            predicted x_0 is clipped as in sampling.
        """
        number, count = torch.arange(pairs.start, pairs.stop), len(self.first) - 1
        image, stratum = number // count, number % count
        indices = (image, image - image[0], stratum, self.first[stratum], self.first.diff()[stratum])
        image, own, stratum, first, size = (i.to(x_0.device) for i in indices)
        position = uniform_lattice(x_0.new_empty(len(x_0)), own, stratum, generator)
        offset = (position * size).long().minimum(size - 1)  # rounding may reach the end
        base = reverse.process.kind.base_icdf(uniform_lattice(x_0, own, stratum, generator))
        x, t = x_0[own], first + offset
        prediction = reverse.select(own).predict(reverse.process.marginal(x, t).rsample(base), t, clip=True)
        error = ((prediction.x_0 - x) ** 2).flatten(1).mean(1)
        measured = torch.stack([bound_term(prediction, x), prior_kl(reverse, x_0)[own], error], dim=1)
        image, stratum, offset, size, measured = (
            i.to(self.images.device) for i in (image, stratum, offset, size, measured)
        )
        self._count(image, stratum, offset, size, measured, x_0)

    def _count(
        self, image: Tensor, stratum: Tensor, offset: Tensor, size: Tensor, measured: Tensor, x_0: Tensor
    ) -> None:
        nats, e = measured.double().tensor_split([2], dim=1)
        term, prior = bits_per_dim(nats, x_0).unbind(1)
        e, y, last = e[:, 0], size * term, stratum == 0
        below = torch.where(offset > 0, offset * term, 0)  # 0 of an infinite term is 0
        parts = [torch.where(last, prior, 0), torch.where(last, 0, y), torch.where(last, y, 0)]
        self.images.index_add_(0, image, torch.stack(parts, dim=1))
        self.strata.index_add_(0, stratum, torch.stack([torch.ones_like(y), y, y**2, below, e, e**2], dim=1))


def uniform_lattice(like: Tensor, own: Tensor, stratum: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers in [0, 1) for pairs of images `own` (B,) and strata (B,): (B, *) for `like` (number of images, *).

    Each is uniform, and independent between images. The numbers of one image are a lattice with a random origin
    (Cranley & Patterson 1976): even over neighbouring strata, so that deviations of their terms cancel.
    """
    origin = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)[own]
    return (origin + spread(stratum * GOLDEN % 1, origin)) % 1


class Estimate(NamedTuple):
    """A mean over images and its standard error, which is None for fewer than two images."""

    value: float
    error: float | None


@dataclass(frozen=True)
class Curve:
    """The bound by strata, (k,) each, starting at t = 1; NaN where a value is undefined.

    terms: sum of the terms at t = first..last; rate: L_T and the terms above t, bits/dim; rmse: root mean squared error
    of the estimate of x_0 on the 0..255 scale. Both for the mean over first..last  (Ho et al. 2020, section 4.3).
    """

    first: Tensor
    last: Tensor
    count: Tensor
    terms: Tensor
    terms_error: Tensor
    rate: Tensor
    rmse: Tensor
    rmse_error: Tensor


@dataclass(frozen=True)
class BoundEstimate:
    """L and its parts in bits/dim, the RMSE of the estimate of x_0 at t = 1 on the 0..255 scale, and both by step.

    A standard error covers the images, as independent draws of their distribution, and the draws of steps and noise: it
    is the standard deviation of the images' values, which have independent draws, over the root of their number.
    """

    total: Estimate
    prior_kl: Estimate
    diffusion_kl: Estimate
    reconstruction_nll: Estimate
    rate: Estimate
    rmse: Estimate
    curve: Curve


def estimate(sums: BoundSums, scale: float = 127.5) -> BoundEstimate:
    """The bound estimated from the sums over all pairs. scale: of the RMSE, 127.5 for 8-bit data in [-1, 1]."""
    images, strata = sums.images.cpu(), sums.strata.cpu()
    count, y, y2, below, e, e2 = strata.unbind(1)
    terms, terms_error = mean_and_error(count, y, y2)
    square, square_error = mean_and_error(count, e, e2)
    above = torch.cat([terms[1:], terms.new_zeros(1)]).flip(0).cumsum(0).flip(0)
    rmse = scale * square.sqrt()
    rmse_error = scale**2 * square_error / (2 * rmse.clamp(min=torch.finfo(rmse.dtype).tiny))  # by its derivative
    curve = Curve(
        first=sums.first[:-1],
        last=sums.first[1:] - 1,
        count=count.long(),
        terms=terms,
        terms_error=terms_error,
        rate=images[:, 0].mean() + above + below / count,
        rmse=rmse,
        rmse_error=rmse_error,
    )
    prior, diffusion, reconstruction = images.unbind(1)
    return BoundEstimate(
        total=estimate_mean(images.sum(1)),
        prior_kl=estimate_mean(prior),
        diffusion_kl=estimate_mean(diffusion),
        reconstruction_nll=estimate_mean(reconstruction),
        rate=estimate_mean(images[:, :2].sum(1)),
        rmse=to_estimate(rmse[0], rmse_error[0]),
        curve=curve,
    )


def mean_and_error(count: Tensor, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and its standard error, NaN for fewer than two, from sums of values and of their squares."""
    mean = total / count
    variance = (squares / count - mean**2).clamp(min=0) * count / (count - 1)
    return mean, torch.where(count > 1, (variance / count).sqrt(), torch.nan)


def estimate_mean(values: Tensor) -> Estimate:
    """The mean of one value per image, (N,), with its standard error."""
    return to_estimate(*mean_and_error(torch.tensor(len(values)), values.sum(), (values**2).sum()))


def to_estimate(value: Tensor, error: Tensor) -> Estimate:
    """An estimate from scalar tensors."""
    return Estimate(value.item(), error.item() if error.isfinite() else None)
