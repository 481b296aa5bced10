"""The image network of Sohl-Dickstein et al. 2015: multi-scale convolutions, then each pixel by itself, then time."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.labels import check_labels, one_hot, read_labels
from lit_diffusion.nn.layers import conv
from lit_diffusion.nn.readout import BumpReadout
from lit_diffusion.nn.shapes import check_pyramid, read_steps


class MultiScaleConvolution(nn.Module):
    """sum_s up_s(conv_s(pool_s(x))): means of 2^s x 2^s pixels, a 3x3 convolution, each pixel repeated 2^s x 2^s times.

    x: (B, in_channels, H, W), H and W divisible by 2^(scales-1); returns (B, out_channels, H, W). Convolutions pad
    with zeros; only that of the full resolution has a bias, as those of all scales would add up.
    """

    def __init__(self, in_channels: int, out_channels: int, scales: int) -> None:
        super().__init__()
        gain = 1 / math.sqrt(scales)
        self.convs = nn.ModuleList(conv(in_channels, out_channels, 3, padding=1, gain=gain) for _ in range(scales))
        for layer in self.convs[1:]:
            layer.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [x]
        for _ in self.convs[1:]:
            pooled.append(F.avg_pool2d(pooled[-1], 2))
        out = self.convs[-1](pooled.pop())
        for layer in reversed(self.convs[:-1]):
            out = F.interpolate(out, scale_factor=2, mode="nearest") + layer(pooled.pop())
        return out


class MultiScaleNetwork(nn.Module):
    """The 2015 image network: `network(x, t)` is (B, out_channels, H, W) for x (B, in_channels, H, W), integer t (B,);
    with `num_classes`, `network(x, t, label)` for labels (B,).

    `depth` multi-scale convolutions, each with softplus; `dense_depth` dense layers with tanh, the same for all pixels;
    and for each output of a pixel the coefficients of `num_bumps` Gaussian bumps over time, so that all before them is
    computed without t  (Sohl-Dickstein et al. 2015, appendix D.2). The paper's optional dense path over all pixels,
    which fixes the size of the images, is left out. A label, which the paper does not have, joins the image as one
    feature map for each class, 1 for its own. H and W must be divisible by 2^(scales-1): see `check_image_shape`. A
    fresh network returns zero.

    Args:
        in_channels: Channels of the image; given by the reverse model.
        out_channels: Channels of the prediction; given by the reverse model.
        num_steps: T of the process.
        width: Channels of the convolutions.
        depth: Number of multi-scale convolutions.
        scales: Resolutions of each: H, H / 2, .., H / 2^(scales-1).
        dense_width: Units of the dense layers, for each pixel.
        dense_depth: Number of dense layers before the readout.
        num_bumps, bump_width: See `BumpReadout`.
        num_classes: Of the labels; null for a network without.
        label_dropout: Rate at which training drops labels, for guidance without a classifier.

    Raises:
        ConfigError: An option that is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_steps: int,
        width: int = 20,
        depth: int = 4,
        scales: int = 3,
        dense_width: int = 20,
        dense_depth: int = 1,
        num_bumps: int = 10,
        bump_width: float = 1.0,
        num_classes: int | None = None,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_labels("MultiScaleNetwork", num_classes, label_dropout)
        options = {"width": width, "depth": depth, "scales": scales}
        options |= {"dense_width": dense_width, "dense_depth": dense_depth}
        check_positive("MultiScaleNetwork", num_steps=num_steps, **options)
        self.in_channels = in_channels
        self.num_steps = num_steps
        self.scales = scales
        self.num_classes, self.label_dropout = num_classes, label_dropout
        inputs = [in_channels + (num_classes or 0), *[width] * (depth - 1)]
        self.convs = nn.ModuleList(MultiScaleConvolution(channels, width, scales) for channels in inputs)
        inputs = [width, *[dense_width] * (dense_depth - 1)]
        self.dense = nn.ModuleList(conv(channels, dense_width, 1) for channels in inputs)
        self.readout = BumpReadout(dense_width, out_channels, num_steps, num_bumps, bump_width)

    def check_image_shape(self, shape: tuple[int, ...]) -> None:
        """Raises ConfigError unless the network takes images of `shape` (C, H, W)."""
        check_pyramid("MultiScaleNetwork", self.in_channels, self.scales, shape, "scales")

    def forward(self, x: Tensor, t: Tensor | int, label: Tensor | None = None) -> Tensor:
        t, h = read_steps(self, x, t), x
        if self.num_classes is not None:
            maps = one_hot(read_labels(self, x, label), self.num_classes).to(x.dtype)[:, :, None, None]
            h = torch.cat([x, maps.expand(-1, -1, *x.shape[2:])], dim=1)
        for layer in self.convs:
            h = F.softplus(layer(h))
        for layer in self.dense:
            h = layer(h).tanh()
        return self.readout(h, t)
