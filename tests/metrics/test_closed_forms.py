"""Scores of distributions whose scores are known."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from lit_diffusion.metrics import Statistics, TorchFidelity, compare
from lit_diffusion.metrics.reference_statistics import compute_statistics
from tests.metrics.made import Table, normal, numbered


def scores(features, other, logits=None, **settings):
    """Of images with these features against images with the other ones, by the whole pass."""
    protocol = TorchFidelity(**{"splits": 1, "kid_subsets": 1, "kid_subset_size": len(features), **settings})
    samples, reference = Table(features, logits), Table(other)
    ours = compute_statistics(numbered(len(features)), samples, protocol, keep_logits=True)
    theirs = compute_statistics(numbered(len(other)), reference, protocol)
    return compare(ours, {"other": theirs}, protocol, samples)


def exactly(count, mean, covariance, seed):
    """`count` vectors whose sample mean and covariance are those given."""
    x = normal(count, len(mean), seed)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.atleast_2d(x.T.cov())), x.T, upper=False)
    return (torch.linalg.cholesky(covariance) @ white).T + mean


@pytest.mark.parametrize("size", [1, 2, 7])
def test_fid_of_gaussians_is_their_frechet_distance(size):
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))  (Dowson & Landau 1982)."""
    (m1, m2), (a, b) = normal(2, size, seed=0), (normal(size, size, seed=s) for s in (1, 2))
    s1, s2 = a @ a.T + torch.eye(size), 2 * (b @ b.T) + 0.5 * torch.eye(size)
    root = sqrtm((s1 @ s2).numpy()).real
    expected = ((m1 - m2) ** 2).sum() + torch.trace(s1 + s2) - 2 * np.trace(root)
    found = scores(exactly(400, m1, s1, seed=3), exactly(300, m2, s2, seed=4))["fid"].value
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_fid_in_one_dimension_is_the_distance_of_means_and_of_deviations():
    """(1 - 3)^2 + (2 - 5)^2 = 13."""
    features = [
        exactly(100, torch.tensor([m]).double(), torch.tensor([[s**2]]).double(), 0)
        for m, s in ((1.0, 2.0), (3.0, 5.0))
    ]
    assert scores(*features)["fid"].value == pytest.approx(13, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 7, 10])
def test_is_of_sure_guesses_spread_over_all_classes_is_their_number(classes):
    logits = 100 * torch.eye(classes).repeat(20, 1)
    features = normal(len(logits), 2, seed=0)
    assert scores(features, features, logits)["inception_score"].value == pytest.approx(classes, rel=1e-9)


def test_is_of_guesses_that_are_all_alike_is_1_with_no_spread():
    logits = torch.tensor([[1.0, 2.0, -1.0]]).repeat(50, 1)
    features = normal(50, 2, seed=0)
    found = scores(features, features, logits, splits=5)["inception_score"]
    assert found.value == pytest.approx(1, abs=1e-12)
    assert found.std == pytest.approx(0, abs=1e-12)


def test_is_between_follows_from_its_definition():
    """exp(E KL(p(y|x) || p(y))) of a third of the images sure of each class and the rest unsure."""
    p = torch.tensor([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [1 / 3, 1 / 3, 1 / 3]]).double()
    kl = (p * (p / p.mean(0)).log()).sum(1).mean()
    features = normal(60, 2, seed=0)
    found = scores(features, features, p.log().repeat(20, 1))["inception_score"].value
    assert found == pytest.approx(float(kl.exp()), rel=1e-6)


def moments(x):
    return [float((x**j).mean()) for j in (1, 2, 3)]


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0, 1.5)])
def test_kid_is_an_unbiased_estimate_of_the_distance_of_moments(shift, scale):
    """(x y + 1)^3 = sum_j C(3, j) x^j y^j: in one dimension MMD^2 = 3 d_1^2 + 3 d_2^2 + d_3^2, d_j of the j-th moments.

    Of sets as small as 20, whose biased estimate would be far off; it is zero for the same distribution.
    """
    m1, m2, m3 = shift, shift**2 + scale**2, shift**3 + 3 * shift * scale**2
    expected = 3 * m1**2 + 3 * (m2 - 1) ** 2 + m3**2
    protocol = TorchFidelity(kid_subsets=1, neighbours=0)
    found, biased = [], []
    for repeat in range(2000):
        x, y = scale * normal(20, 1, seed=repeat) + shift, normal(20, 1, seed=10_000 + repeat)
        one, other = (Statistics(20, f.mean(0), f.T.cov()[None, None], f, torch.zeros(0, 2)) for f in (x, y))
        found.append(compare(one, {"y": other}, protocol, Table(x))["kid"].value)
        d = [a - b for a, b in zip(moments(x), moments(y))]
        biased.append(3 * d[0] ** 2 + 3 * d[1] ** 2 + d[2] ** 2)
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found) - expected) < 4 * error
    assert abs(np.mean(biased) - expected) > 10 * error


def test_kid_of_one_subset_is_its_formula_written_out():
    """Kernel (x.y / D + 1)^3, no diagonal within a set, all pairs between sets  (Binkowski et al. 2018)."""
    x, y = normal(30, 4, seed=0), normal(30, 4, seed=1) + 0.3

    def k(a, b):
        return (float(a @ b) / 4 + 1) ** 3

    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(30) for j in range(30) if i != j) / (30 * 29)
    between = sum(k(a, b) for a in x for b in y) / 30**2
    assert scores(x, y)["kid"].value == pytest.approx(within - 2 * between, rel=1e-4)


def test_precision_and_recall_of_a_set_with_itself_are_1():
    features = normal(50, 3, seed=0)
    found = scores(features, features)
    assert (found["precision"].value, found["recall"].value) == (1, 1)
    assert found["fid"].value == pytest.approx(0, abs=1e-6)


def test_precision_and_recall_of_sets_far_apart_are_0():
    found = scores(normal(50, 3, seed=0), normal(50, 3, seed=1) + 100)
    assert (found["precision"].value, found["recall"].value) == (0, 0)


def test_samples_of_one_mode_of_two_have_precision_1_and_recall_a_half():
    """Which of the two numbers is which: samples that are good but not all there."""
    mode = 0.1 * normal(40, 2, seed=0)
    found = scores(mode, torch.cat([mode, mode + 100]))
    assert (found["precision"].value, found["recall"].value) == (1, 0.5)
