"""Pictures that people look at: grids of images and labelled chains."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import make_grid

MIN_SIDE = 48  # pixels; smaller images are enlarged by a whole factor, without smoothing
LABEL_HEIGHT = 18


def grid(images: Tensor, columns: int) -> Image.Image:
    """A picture of images (N, C, H, W) in [-1, 1], row by row; small images are enlarged by a whole factor."""
    factor = -(-MIN_SIDE // images.shape[-1])
    big = images.float().cpu().clamp(-1, 1).repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    tiled = make_grid((big + 1) / 2, nrow=columns, padding=2, pad_value=1.0)
    return Image.fromarray((tiled * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def chain(columns: Sequence[Tensor], labels: Sequence[str]) -> Image.Image:
    """Columns of images (N, C, H, W) in [-1, 1], a label above each: an image develops from left to right."""
    body = grid(torch.stack(list(columns), dim=1).flatten(0, 1), len(columns))
    picture = Image.new("RGB", (body.width, body.height + LABEL_HEIGHT), "white")
    picture.paste(body, (0, LABEL_HEIGHT))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    width = (body.width - 2) / len(columns)
    for i, label in enumerate(labels):
        draw.text((2 + (i + 0.5) * width, LABEL_HEIGHT / 2), label, fill="black", font=font, anchor="mm")
    return picture
