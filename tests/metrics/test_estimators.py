"""Scores of features that float32 cannot tell apart, against sums written out in more digits."""

import numpy as np
import pytest
import torch

from lit_diffusion.metrics import TorchFidelity, estimators
from lit_diffusion.metrics.estimators import inception_score, kernel_distance, share_within
from lit_diffusion.metrics.parzen import ParzenWindows
from lit_diffusion.metrics.reference_statistics import compute_statistics
from tests.metrics.made import Table, normal, numbered
from tests.metrics.test_closed_forms import scores

FAR = torch.cat([torch.zeros(100, 1), torch.ones(100, 1)]).double()  # two modes
CASES = {
    "as they are": lambda x: x,
    "1,000 deviations away": lambda x: x + 1_000,
    "100,000 deviations away": lambda x: x + 100_000,
    "in two modes 30,000 deviations apart": lambda x: x + 30_000 * FAR,
    "whose squares overflow float32": lambda x: 1e20 * x,
    "whose squares vanish in float32": lambda x: 1e-25 * x,
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def features(request):
    """Of 200 samples and 200 references, as an extractor gives them."""
    return request.param(normal(200, 8, seed=0)).float(), request.param(1.4 * normal(200, 8, seed=1)).float()


def within(points, centres, neighbours):
    """The share of points in the balls, from differences rather than from products."""

    def distances(a, b):
        return ((a.double().numpy()[:, None] - b.double().numpy()) ** 2).sum(-1)

    radii = np.sort(distances(centres, centres))[:, neighbours]
    return (distances(points, centres) <= radii).any(1).mean()


def test_precision_and_recall_are_those_of_exact_distances(features):
    samples, reference = features
    found = scores(samples, reference)
    assert found["precision"].value == within(samples, reference, 3)
    assert found["recall"].value == within(reference, samples, 3)
    assert found["precision"].value > 0.9 and found["recall"].value < 0.6  # not the 1 and 1 of distances that vanish


@pytest.mark.parametrize("offset", [1e5, 1e8])
def test_precision_does_not_depend_on_an_offset_of_features_in_float64(offset):
    """Of 100 million deviations too: features are centred before they are multiplied."""
    samples, reference = normal(200, 8, seed=0).double() + offset, 1.4 * normal(200, 8, seed=1).double() + offset
    assert share_within(reference, samples, 3) == within(reference, samples, 3) < 0.6


def test_in_parts_the_share_is_the_same(features, monkeypatch):
    whole = share_within(*features, 3)
    monkeypatch.setattr("lit_diffusion.metrics.estimators.DISTANCES", 13 * 200)
    assert share_within(*features, 3) == whole


def test_kid_is_its_formula_in_long_doubles(features):
    """Of all features in one subset; at an offset, nearly equal sums of 1e18 cancel."""
    x, y = (one.numpy().astype(np.longdouble) for one in features)

    def kernel(a, b):
        return ((a[:, None] * b).sum(-1) / 8 + 1) ** 3

    inner = sum(kernel(one, one).sum() - np.trace(kernel(one, one)) for one in (x, y)) / (200 * 199)
    expected = float(inner - 2 * kernel(x, y).mean())
    scale = float(np.abs(kernel(x, y)).mean())
    found, spread = kernel_distance(*features, subsets=1, size=200, seed=0)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-13 * scale)
    assert spread == 0


@pytest.mark.parametrize("sure", [700.0, 800.0, 1e5, 1e30])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_is_counts_the_classes_of_a_classifier_that_is_sure_beyond_the_floats(sure, classes):
    """Of five classes, those with images. Probabilities of the others are 0 in float64; their logarithms are not."""
    logits = sure * torch.eye(5)[:classes].repeat(12, 1)
    found = scores(normal(len(logits), 2, seed=0), normal(50, 2, seed=1), logits)["inception_score"]
    assert found.value == pytest.approx(classes, rel=1e-12)


def test_is_of_a_classifier_that_excludes_classes():
    """A logit of -inf is a probability of 0; one of NaN stays NaN."""
    logits = torch.tensor([[0.0, -torch.inf, -torch.inf], [-torch.inf, 0.0, -torch.inf]]).repeat(12, 1)
    assert inception_score(logits, 1, 0)[0] == pytest.approx(2, rel=1e-12)
    assert np.isnan(inception_score(torch.full((4, 3), torch.nan), 1, 0)[0])


def test_is_of_parts_is_that_of_torch_fidelity():
    """Where torch-fidelity has a number: its shuffle, its parts and its spread."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * normal(203, 7, seed=0).float()
    theirs = isc_features_to_metric(logits, splits=10, shuffle=True, rng_seed=2020)
    assert inception_score(logits, 10, 2020) == pytest.approx(tuple(theirs.values()), rel=1e-12)


@pytest.mark.parametrize("offset", [0, 1e3, 1e5])
def test_the_covariance_of_fid_does_not_depend_on_an_offset(offset):
    """To what float32 features leave of it: their own covariance, from differences."""
    table = Table(normal(300, 4, seed=0) + offset)
    found = compute_statistics(numbered(300), table, TorchFidelity()).covariance
    torch.testing.assert_close(found, table.features.double().T.cov(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_parzen_windows_far_from_the_origin_are_those_near_it(offset):
    """Windows of 0.01 on values around a million."""
    x, y = normal(20, 3, seed=0).double(), normal(200, 3, seed=1).double()
    x, y = (one + offset - offset for one in (x, y))  # rounded as at the offset
    near, far = (ParzenWindows(torch.tensor([0.01, 0.3]), 20, 3) for _ in range(2))
    near.add(0, x, y)
    far.add(0, x + offset, y + offset)
    torch.testing.assert_close(far.log_density(200), near.log_density(200), rtol=1e-9, atol=1e-9)


def test_kid_of_many_images_subset_by_subset_is_that_from_all_pairs(monkeypatch):
    """The two ways differ in memory and time only; neither side is as large as the other."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(count, 6, generator=generator) + shift for count, shift in ((40, 0.0), (50, 0.3)))
    pairs = kernel_distance(x, y, subsets=7, size=20, seed=3)
    monkeypatch.setattr(estimators, "DISTANCES", 1)
    assert kernel_distance(x, y, subsets=7, size=20, seed=3) == pytest.approx(pairs, rel=1e-12)
