"""Grids of images, and labelled chains and rows of them."""

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad
from torchvision.utils import make_grid

ALPHA = (2, 4)  # numbers of channels of which the last is opacity, as in the images that `channels` of data makes
MIN_SIDE = 48  # pixels; smaller images are enlarged by an integer factor, without smoothing
FONT_SIZE = 12  # of labels, their height, and the gap on both sides of them; larger with larger images
LABEL_HEIGHT = 18
GAP = 6


def grid(images: Tensor, columns: int, side: int = MIN_SIDE) -> Image.Image:
    """A picture of images (N, C, H, W) in [-1, 1], row by row; those of fewer pixels than `side` are enlarged by an
    integer factor.
    """
    factor = -(-side // images.shape[-1])
    big = images.float().cpu().clamp(-1, 1).repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    tiled = make_grid((visible(big) + 1) / 2, nrow=columns, padding=2, pad_value=1.0)
    return Image.fromarray((tiled * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def visible(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] of any number of channels as grey or RGB.

    Two channels are grey with alpha and four RGB with alpha, laid over white; any other number is shown side by side
    in grey, a white line between the channels, (N, 1, H, C (W + 1) - 1).
    """
    if images.shape[1] in (1, 3):
        return images
    if images.shape[1] in ALPHA:
        colour, opacity = images[:, :-1], (images[:, -1:] + 1) / 2
        return colour * opacity + (1 - opacity)
    return pad(images, (0, 1), value=1.0).transpose(1, 2).flatten(2)[:, None, :, :-1]


def chain(columns: Sequence[Tensor], labels: Sequence[str], side: int = MIN_SIDE) -> Image.Image:
    """Columns of images (N, C, H, W) in [-1, 1], a label above each: successive states from left to right. side: as for
    `grid`; it also sets the size of the labels.
    """
    body = grid(torch.stack(list(columns), dim=1).flatten(0, 1), len(columns), side)
    top = LABEL_HEIGHT * side // MIN_SIDE
    picture = Image.new("RGB", (body.width, body.height + top), "white")
    picture.paste(body, (0, top))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE * side / MIN_SIDE)
    width = (body.width - 2) / len(columns)
    for i, label in enumerate(labels):
        draw.text((2 + (i + 0.5) * width, top / 2), label, fill="black", font=font, anchor="mm")
    return picture


def rows(images: Sequence[Tensor], labels: Sequence[str], side: int = MIN_SIDE) -> Image.Image:
    """Rows of images (N, C, H, W) in [-1, 1], a label of one or more lines to the left of each. side: as for
    `chain`.
    """
    body = grid(torch.cat(list(images)), len(images[0]), side)
    font = ImageFont.load_default(FONT_SIZE * side / MIN_SIDE)
    gap = GAP * side // MIN_SIDE
    measure = ImageDraw.Draw(body)
    margin = math.ceil(max(measure.multiline_textbbox((0, 0), label, font)[2] for label in labels)) + 2 * gap
    picture = Image.new("RGB", (margin + body.width, body.height), "white")
    picture.paste(body, (margin, 0))
    draw, height = ImageDraw.Draw(picture), (body.height - 2) / len(images)
    for i, label in enumerate(labels):
        place = (margin - gap, 2 + (i + 0.5) * height)
        draw.multiline_text(place, label, fill="black", font=font, anchor="rm", align="right")
    return picture
