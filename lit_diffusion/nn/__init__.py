"""Networks: torch modules called as `network(x, t)`, built from (in_channels, out_channels, ...).

x: (B, in_channels, H, W); t: (B,) integers in 0..T-1 (the released weights' convention; everywhere else t is 1..T).
Each has `check_image_shape((C, H, W))`, to be called once at set-up: ConfigError for images that do not fit.
"""

from lit_diffusion.nn.classic_unet import ClassicUNet
from lit_diffusion.nn.unet import UNet

__all__ = ["ClassicUNet", "UNet"]
