"""The U-Net of segmentation (Ronneberger, Fischer, Brox 2015), with t as one more feature map."""

import math

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.labels import check_labels, one_hot, read_labels
from lit_diffusion.nn.shapes import check_pyramid, read_steps


class ClassicUNet(nn.Module):
    """The classic U-Net: `network(x, t)` is (B, out_channels, H, W) for x (B, in_channels, H, W) and integer t (B,), or
    with `num_classes` `network(x, t, label)` for labels (B,).

    Contracting path: two 3x3 convolutions with ReLU a level, 2x2 max-pooling between levels, channels doubling.
    Expanding path: 2x2 up-convolution, concatenation with the features of that level, two 3x3 convolutions with ReLU.
    A 1x1 convolution ends it. As in the lectures, t joins the image as a constant feature map, and a
    label as one for each class, 1 for its own. Convolutions are padded
    here, so that sizes are kept; weights start as in the paper's section 3 (normal, variance 2 / fan-in), biases at 0.
    H and W must be divisible by 2^(levels-1): see `check_image_shape`.

    Args:
        in_channels: Channels of the image; given by the reverse model.
        out_channels: Channels of the prediction; given by the reverse model.
        width: Channels of the first level; level i has width * 2^i of them at resolution H / 2^i.
        levels: Number of resolutions; the paper has 5, on images of 572 pixels.
        num_classes: Of the labels; null for a network without.
        label_dropout: Rate at which training drops labels, for guidance without a classifier.
        time_scale: The time map holds t / time_scale, which should be of order 1; 1000 suits the usual 1000 steps.

    Raises:
        ConfigError: An option that is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        levels: int = 4,
        time_scale: float = 1000.0,
        num_classes: int | None = None,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_labels("ClassicUNet", num_classes, label_dropout)
        for name, value in {"width": width, "levels": levels, "time_scale": time_scale}.items():
            if not value > 0:
                raise ConfigError(f"ClassicUNet.{name}: expected a number above 0, got {value}")
        self.in_channels = in_channels
        self.time_scale = time_scale
        self.num_classes, self.label_dropout = num_classes, label_dropout
        channels = [width * 2**level for level in range(levels)]
        inputs = [in_channels + 1 + (num_classes or 0), *channels]
        self.down = nn.ModuleList(_two_convolutions(i, o) for i, o in zip(inputs, channels, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, stride=2) for c in reversed(channels[:-1]))
        self.merge = nn.ModuleList(_two_convolutions(2 * c, c) for c in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, out_channels, 1)
        self.apply(_he_normal)

    def check_image_shape(self, shape: tuple[int, int, int]) -> None:
        """Raise ConfigError unless the network takes images of `shape` (C, H, W)."""
        check_pyramid("ClassicUNet", self.in_channels, len(self.down), shape, "levels")

    def forward(self, x: Tensor, t: Tensor | int, label: Tensor | None = None) -> Tensor:
        t = read_steps(self, x, t)
        values = [(t.float() / self.time_scale)[:, None]]
        if self.num_classes is not None:
            values.append(one_hot(read_labels(self, x, label), self.num_classes))
        maps = torch.cat(values, dim=1).to(x.dtype)[:, :, None, None]
        h = torch.cat([x, maps.expand(-1, -1, *x.shape[2:])], dim=1)
        h = self.down[0](h)
        skips = []
        for level in self.down[1:]:
            skips.append(h)
            h = level(nn.functional.max_pool2d(h, 2))
        for up, merge in zip(self.up, self.merge, strict=True):
            h = merge(torch.cat([skips.pop(), up(h)], dim=1))
        return self.head(h)


def _two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.ReLU(),
    )


def _he_normal(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        # An up-convolution's windows do not overlap: each of its outputs sees one pixel.
        pixels = 1 if isinstance(module, nn.ConvTranspose2d) else math.prod(module.kernel_size)
        nn.init.normal_(module.weight, std=math.sqrt(2 / (module.in_channels * pixels)))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
