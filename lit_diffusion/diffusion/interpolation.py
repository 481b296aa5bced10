"""Paths from one image or latent to another."""

from torch import Tensor


def linear(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """(1 - w) a + w b  (Ho et al. 2020, section 4.4): a, b (B, *), weights (K,) to (B, K, *)."""
    w = weights.view(-1, *[1] * (a.ndim - 1))
    return (1 - w) * a[:, None] + w * b[:, None]


def spherical(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """sin((1 - w) theta) / sin(theta) a + sin(w theta) / sin(theta) b, theta the angle between a and b.

    a, b: (B, *) of standard normal numbers, whose typical norm every point on the path has; weights (K,);
    returns (B, K, *). Linear where a and b are parallel  (Song et al. 2020, arXiv 2010.02502, appendix D.5).
    """
    if a.device.type == "mps":  # Apple's GPUs lack float64
        return spherical(a.cpu(), b.cpu(), weights.cpu()).to(a)
    flat_a, flat_b = a.double().flatten(1), b.double().flatten(1)
    cosine = (flat_a * flat_b).sum(1) / (flat_a.norm(dim=1) * flat_b.norm(dim=1))
    theta = cosine.clamp(-1, 1).arccos().view(-1, 1, *[1] * (a.ndim - 1))  # (B, 1, 1, ..., 1)
    w = weights.double().view(-1, *[1] * (a.ndim - 1))
    curved = ((1 - w) * theta).sin() * a[:, None] + (w * theta).sin() * b[:, None]
    straight = theta.sin() < 1e-6
    way = curved / theta.sin().where(~straight, 1)
    return way.to(a).where(~straight, linear(a, b, weights.to(a)))
