"""The networks of two releases, from their papers and code, as functions of weights by their own names.

A weight is drawn at its first use, so that what is computed says which weights there are, of what shapes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


class Weights(dict):
    """Weights by name, float32, drawn when they are first asked for."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def get(self, name: str, *shape: int) -> Tensor:
        if name not in self:
            fan_in = math.prod(shape[1:]) or 1
            self[name] = torch.randn(shape, generator=self.generator) * (fan_in**-0.5 if len(shape) > 1 else 0.1)
            if name.endswith("norm.weight"):
                self[name] = self[name] + 1
        return self[name]

    def affine(self, name: str, x: Tensor, outputs: int) -> Tensor:
        return F.linear(
            x, self.get(f"{name}.weight", outputs, x.shape[1]).to(x), self.get(f"{name}.bias", outputs).to(x)
        )

    def conv(self, name: str, x: Tensor, outputs: int, size: int = 3, **how) -> Tensor:
        weight = self.get(f"{name}.weight", outputs, x.shape[1], *[size] * (x.ndim - 2))
        convolve = F.conv2d if x.ndim == 4 else F.conv1d
        return convolve(x, weight.to(x), self.get(f"{name}.bias", outputs).to(x), **how)

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        weight, bias = self.get(f"{name}.weight", x.shape[1]), self.get(f"{name}.bias", x.shape[1])
        return F.group_norm(x, 32, weight.to(x), bias.to(x), eps)


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def released(w: Weights, x: Tensor, t: Tensor, width: int, factors: tuple, blocks: int, attends: tuple, outputs: int):
    """The network of Ho et al. 2020 by the names of its PyTorch conversions; attends: levels with attention."""
    half = width // 2
    phases = t.float()[:, None] * torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))[None]
    time = torch.cat([torch.sin(phases), torch.cos(phases)], 1).to(x)
    time = w.affine("temb.dense.1", swish(w.affine("temb.dense.0", time, 4 * width)), 4 * width)

    def block(name: str, h: Tensor, channels: int) -> Tensor:
        inner = w.conv(f"{name}.conv1", swish(w.norm(f"{name}.norm1", h, 1e-6)), channels, padding=1)
        inner = inner + w.affine(f"{name}.temb_proj", swish(time), channels)[:, :, None, None]
        inner = w.conv(f"{name}.conv2", swish(w.norm(f"{name}.norm2", inner, 1e-6)), channels, padding=1)
        return inner + (h if h.shape[1] == channels else w.conv(f"{name}.nin_shortcut", h, channels, 1))

    def attention(name: str, h: Tensor) -> Tensor:
        normed, channels = w.norm(f"{name}.norm", h, 1e-6), h.shape[1]
        q, k, v = (w.conv(f"{name}.{part}", normed, channels, 1).flatten(2) for part in "qkv")
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) * channels**-0.5, dim=2)
        return h + w.conv(f"{name}.proj_out", torch.einsum("bij,bcj->bci", weights, v).view_as(h), channels, 1)

    skips = [w.conv("conv_in", x, width, padding=1)]
    for level, factor in enumerate(factors):
        for j in range(blocks):
            h = block(f"down.{level}.block.{j}", skips[-1], width * factor)
            skips.append(attention(f"down.{level}.attn.{j}", h) if level in attends else h)
        if level < len(factors) - 1:
            padded = F.pad(skips[-1], (0, 1, 0, 1))
            skips.append(w.conv(f"down.{level}.downsample.conv", padded, width * factor, stride=2))
    h = block("mid.block_1", skips[-1], skips[-1].shape[1])
    h = block("mid.block_2", attention("mid.attn_1", h), h.shape[1])
    for level in reversed(range(len(factors))):
        for j in range(blocks + 1):
            h = block(f"up.{level}.block.{j}", torch.cat([h, skips.pop()], 1), width * factors[level])
            h = attention(f"up.{level}.attn.{j}", h) if level in attends else h
        if level:
            h = w.conv(f"up.{level}.upsample.conv", double(h), h.shape[1], padding=1)
    return w.conv("conv_out", swish(w.norm("norm_out", h, 1e-6)), outputs, padding=1)


def improved(
    w: Weights,
    x: Tensor,
    t: Tensor,
    width: int,
    factors: tuple,
    blocks: int,
    attends: tuple,
    outputs: int,
    heads: int,
    scale_shift: bool,
    time_scale: float,
    label: Tensor | None = None,
    classes: int = 10,
) -> Tensor:
    """The network of Nichol & Dhariwal 2021 by its own names; attends: levels with attention; label: if conditional."""
    half = width // 2
    phases = (t.float() * time_scale)[:, None] * torch.exp(-math.log(10000) * torch.arange(half).float() / half)[None]
    time = torch.cat([torch.cos(phases), torch.sin(phases)], 1).to(x)
    time = w.affine("time_embed.2", swish(w.affine("time_embed.0", time, 4 * width)), 4 * width)
    if label is not None:
        time = time + w.get("label_emb.weight", classes, 4 * width).to(x)[label]

    def block(name: str, h: Tensor, channels: int) -> Tensor:
        inner = w.conv(f"{name}.in_layers.2", swish(w.norm(f"{name}.in_layers.0", h, 1e-5)), channels, padding=1)
        shift_of_time = w.affine(f"{name}.emb_layers.1", swish(time), channels * (1 + scale_shift))[:, :, None, None]
        if scale_shift:
            scale, shift = shift_of_time[:, :channels], shift_of_time[:, channels:]
            inner = w.norm(f"{name}.out_layers.0", inner, 1e-5) * (1 + scale) + shift
        else:
            inner = w.norm(f"{name}.out_layers.0", inner + shift_of_time, 1e-5)
        inner = w.conv(f"{name}.out_layers.3", swish(inner), channels, padding=1)
        return inner + (h if h.shape[1] == channels else w.conv(f"{name}.skip_connection", h, channels, 1))

    def attention(name: str, h: Tensor) -> Tensor:
        pixels, channels = h.flatten(2), h.shape[1]
        qkv = w.conv(f"{name}.qkv", w.norm(f"{name}.norm", pixels, 1e-5), 3 * channels, 1)
        size, results = channels // heads, []
        for one in qkv.split(3 * size, dim=1):  # a head after the other, each with its q, k, v
            q, k, v = one.split(size, dim=1)
            weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(size), dim=2)
            results.append(torch.einsum("bts,bcs->bct", weights, v))
        return (pixels + w.conv(f"{name}.proj_out", torch.cat(results, 1), channels, 1)).view_as(h)

    skips, n = [w.conv("input_blocks.0.0", x, width, padding=1)], 1
    for level, factor in enumerate(factors):
        for _ in range(blocks):
            h = block(f"input_blocks.{n}.0", skips[-1], width * factor)
            skips.append(attention(f"input_blocks.{n}.1", h) if level in attends else h)
            n += 1
        if level < len(factors) - 1:
            skips.append(w.conv(f"input_blocks.{n}.0.op", skips[-1], width * factor, stride=2, padding=1))
            n += 1
    h = block("middle_block.0", skips[-1], skips[-1].shape[1])
    h = block("middle_block.2", attention("middle_block.1", h), h.shape[1])
    n = 0
    for level in reversed(range(len(factors))):
        for j in range(blocks + 1):
            h = block(f"output_blocks.{n}.0", torch.cat([h, skips.pop()], 1), width * factors[level])
            h = attention(f"output_blocks.{n}.1", h) if level in attends else h
            if level and j == blocks:
                place = 2 if level in attends else 1
                h = w.conv(f"output_blocks.{n}.{place}.conv", double(h), h.shape[1], padding=1)
            n += 1
    return w.conv("out.2", swish(w.norm("out.0", h, 1e-5)), outputs, padding=1)
