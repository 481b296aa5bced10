"""IS, KID, precision and recall of features: torch-fidelity's definitions and draws, in float64 whatever the features.

Float32 would not do: features with a common offset of a thousand standard deviations lose their distances in it, and
the sums of KID's cubic kernel their differences.
"""

import numpy as np
import torch
from torch import Tensor

DISTANCES = 10**7  # between features, in memory at once


def inception_score(logits: Tensor, splits: int, seed: int) -> tuple[float, float]:
    """exp E KL(p(y|x) || p(y)), its mean and standard deviation over `splits` parts of the shuffled logits (N, K).

    Works with log-probabilities throughout: one that exp would round to 0 has a logarithm all the same.
    """
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(logits)))
    log_p = logits[order].double().log_softmax(1)
    bounds = [i * len(logits) // splits for i in range(splits + 1)]
    scores = []
    for part in (log_p[first:last] for first, last in zip(bounds, bounds[1:])):
        log_q = part.logsumexp(0) - np.log(len(part))
        terms = torch.where(part == -torch.inf, 0, part.exp() * (part - log_q))
        scores.append(terms.sum(1).mean().exp().item())
    return float(np.mean(scores)), float(np.std(scores))


def kernel_distance(x: Tensor, y: Tensor, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """The unbiased squared MMD of features x (N, D) and y (M, D) under (x.y / D + 1)^3: its mean and standard deviation
    over random subsets of `size` of each  (Binkowski et al. 2018, arXiv 1801.01401, section 4).
    """
    random = np.random.RandomState(seed)
    drawn = [[random.choice(len(one), size, replace=False) for one in (x, y)] for _ in range(subsets)]
    if max(len(x), len(y)) ** 2 <= DISTANCES:  # all pairs once, and then the sums of each subset as products with it
        found = _subset_distances(x.double(), y.double(), torch.from_numpy(np.array(drawn)))
    else:
        own = torch.arange(size).expand(1, 2, size)
        found = torch.cat([_subset_distances(x[a].double(), y[b].double(), own) for a, b in drawn])
    return found.mean().item(), found.std(correction=0).item()


def _subset_distances(x: Tensor, y: Tensor, drawn: Tensor) -> Tensor:
    """The unbiased squared MMD of each of S subsets, (S,). drawn: its rows of x (N, D) and y (M, D), (S, 2, size)."""
    subsets, _, size = drawn.shape
    in_x, in_y = (
        torch.zeros(subsets, len(one), dtype=x.dtype, device=x.device).scatter_(1, drawn[:, side].to(x.device), 1)
        for side, one in enumerate((x, y))
    )
    within = torch.zeros(subsets, dtype=x.dtype, device=x.device)
    for chosen, values in ((in_x, kernel(x, x)), (in_y, kernel(y, y))):
        within += (chosen @ values.fill_diagonal_(0) * chosen).sum(1) / (size * (size - 1))
    return within - 2 * (in_x @ kernel(x, y) * in_y).sum(1) / size**2


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """(a.b / D + 1)^3 of all pairs of rows of a (N, D) and b (M, D): (N, M)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def share_within(points: Tensor, centres: Tensor, neighbours: int) -> float:
    """The share of points (N, D) within the ball of any of the centres (M, D), each reaching to its k-th neighbour
    among the centres: precision of samples among the reference, recall the other way round.
    """
    offset = centres.double().mean(0)  # distances are computed from products, in which it would cost digits
    centres = centres.double() - offset
    rows = max(1, DISTANCES // len(centres))
    radii = [torch.cdist(some, centres).kthvalue(neighbours + 1).values for some in centres.split(rows)]
    radius = torch.cat(radii)
    inside = [(torch.cdist(some.double() - offset, centres) <= radius).any(1) for some in points.split(rows)]
    return torch.cat(inside).double().mean().item()
