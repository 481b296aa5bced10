"""Paths from one image or latent to another."""

from torch import Tensor

from lit_diffusion.diffusion.schedule import float64_device


def linear(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """(1 - w) a + w b  (Ho et al. 2020, section 4.4): a, b (B, *), weights (K,) to (B, K, *)."""
    w = weights.view(-1, *[1] * (a.ndim - 1))
    return (1 - w) * a[:, None] + w * b[:, None]


def spherical(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """sin((1 - w) theta) / sin(theta) a + sin(w theta) / sin(theta) b, theta the angle between a and b.

    a, b: (B, *) of standard normal numbers, whose typical norm every point on the path has; weights (K,);
    returns (B, K, *). Linear where a and b are parallel  (Song et al. 2020, arXiv 2010.02502, appendix D.5).
    """
    x, y, w = (one.to(float64_device(a.device)).double() for one in (a, b, weights))
    flat_x, flat_y = x.flatten(1), y.flatten(1)
    cosine = (flat_x * flat_y).sum(1) / (flat_x.norm(dim=1) * flat_y.norm(dim=1))
    theta = cosine.clamp(-1, 1).arccos().view(-1, 1, *[1] * (a.ndim - 1))  # (B, 1, 1, ..., 1)
    w = w.view(-1, *[1] * (a.ndim - 1))
    curved = ((1 - w) * theta).sin() * x[:, None] + (w * theta).sin() * y[:, None]
    straight = theta.sin() < 1e-6
    way = curved / theta.sin().where(~straight, 1)
    return way.to(a).where(~straight.to(a.device), linear(a, b, weights.to(a)))
