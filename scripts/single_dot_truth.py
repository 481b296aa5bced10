"""The bound of an exact denoiser of SingleDot's images: what no training can improve, for several T.

    python scripts/single_dot_truth.py --height 8 --steps 100 300 1000 3000

prints the bound in bits an image, with its standard error, next to the entropy log2(height * width).
"""

import argparse
import math

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion import (
    CleanImage,
    DiscretizedGaussian,
    GaussianProcess,
    GaussianReverse,
    PosteriorVariance,
    RescaledLinearSchedule,
)
from lit_diffusion.diffusion.bound import variational_bound


class ExactDenoiser(nn.Module):
    """E[x_0 | x_t] for one dot at a uniformly random place: -1 plus twice the posterior probability of each place.

    log q(x_t | dot at i) = 2 x_t,i sqrt(alpha_bar_t) / (1 - alpha_bar_t) + a constant in i.
    """

    def __init__(self, process: GaussianProcess):
        super().__init__()
        steps = process.schedule.steps()
        self.factor = 2 * process.schedule.alpha_bar(steps).sqrt() / process.schedule.sigma2(steps)

    def forward(self, x_t: Tensor, index: Tensor) -> Tensor:
        logits = self.factor[index][:, None] * x_t.flatten(1).double()
        return (2 * logits.softmax(1) - 1).view_as(x_t).to(x_t)


def exact_bound(height: int, width: int, num_steps: int, beta_start: float, images: int) -> Tensor:
    """Bits of each of `images` images, (images,)."""
    process = GaussianProcess(RescaledLinearSchedule(num_steps, beta_start))
    reverse = GaussianReverse(
        process,
        lambda *_: ExactDenoiser(process),
        CleanImage(),
        variance=PosteriorVariance(),
        decoder=DiscretizedGaussian(2),
        channels=1,
    )
    places = torch.arange(images) % (height * width)
    x_0 = (2.0 * torch.eye(height * width)[places] - 1).view(-1, 1, height, width)
    return variational_bound(reverse, x_0, torch.Generator().manual_seed(0)).total / math.log(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=8)
    parser.add_argument("--width", type=int)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--beta-start", type=float, default=1e-4, help="of the linear schedule, for T = 1000")
    parser.add_argument("--images", type=int, default=1280)
    options = parser.parse_args()
    width = options.width or options.height
    print(f"entropy: {math.log2(options.height * width):.3f} bits an image")
    for num_steps in options.steps:
        bits = exact_bound(options.height, width, num_steps, options.beta_start, options.images)
        print(f"T = {num_steps}: {bits.mean():.3f} +- {bits.std() / math.sqrt(len(bits)):.3f}")


if __name__ == "__main__":
    main()
