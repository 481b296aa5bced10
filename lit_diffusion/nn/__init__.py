"""Networks: torch modules called as `network(x, t)`, built from (in_channels, out_channels, ...).

x: (B, in_channels, H, W), or (B, in_channels) for vectors; t: (B,) integers in 0..T-1 (the released weights'
convention; everywhere else t is 1..T). Each has `check_image_shape`, to be called once at set-up with (C, H, W) or
(D,): ConfigError for examples that do not fit. A network that works with one T only has it as `num_steps`.

Those of other models are built from two shapes, (in_shape, out_shape, ...), and called as `network(x)`: ConfigError if
the shapes do not fit.
"""

from lit_diffusion.nn.autoencoder import ConvDecoder, ConvEncoder
from lit_diffusion.nn.classic_unet import ClassicUNet
from lit_diffusion.nn.dense import DenseNetwork
from lit_diffusion.nn.discriminators import ConvDiscriminator
from lit_diffusion.nn.generators import ConvGenerator
from lit_diffusion.nn.mlp import VectorMLP
from lit_diffusion.nn.multiscale import MultiScaleNetwork
from lit_diffusion.nn.radial_basis import RadialBasisNetwork
from lit_diffusion.nn.readout import BumpReadout, Readout, SharedReadout, StepReadout
from lit_diffusion.nn.unet import UNet

__all__ = [
    "BumpReadout",
    "ClassicUNet",
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "ConvGenerator",
    "DenseNetwork",
    "MultiScaleNetwork",
    "RadialBasisNetwork",
    "Readout",
    "SharedReadout",
    "StepReadout",
    "UNet",
    "VectorMLP",
]
