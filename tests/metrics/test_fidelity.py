"""One pass over images, in any order, in any parts, on any ranks, in any precision of the trainer."""

import random

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from lit_diffusion.data import Digits
from lit_diffusion.data.image_set import split_of
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import DDPMRelease, DigitsFeatures, Fidelity, InceptionFeatures, TorchFidelity, compare
from lit_diffusion.metrics.reference_statistics import compute_statistics, reference_statistics
from tests.metrics.made import SCORES, SHAPE, Table, fill, inception_file, normal, numbered

COUNT = 503
PROTOCOL = TorchFidelity(splits=4, kid_subsets=5, kid_subset_size=40, max_features=200)  # every third image


def extractor():
    return Table(normal(COUNT, 5, seed=0) + 1, 2 * normal(COUNT, 3, seed=1))


def reference():
    return {"numbers:train": compute_statistics(numbered(COUNT), Table(normal(COUNT, 5, seed=2)), PROTOCOL)}


def metric(references=None):
    return Fidelity(extractor(), PROTOCOL, SHAPE, COUNT, references or reference())


def assert_same(scores, expected):
    """FID up to the order of sums; the others exactly, for the same images in the same order."""
    assert scores.keys() == expected.keys() == SCORES
    assert scores["fid"].value == pytest.approx(expected["fid"].value, rel=1e-10)
    for name in SCORES - {"fid"}:
        assert scores[name] == expected[name]


def shuffled():
    return torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def expected():
    """In order, all at once."""
    return fill(metric(), torch.arange(COUNT), [COUNT]).compute()


@pytest.mark.parametrize("sizes", [[1] * COUNT, [200, 300, 3], [8] * 62 + [7]], ids=["single", "uneven", "eights"])
def test_order_and_batches_of_the_images_do_not_matter(sizes, expected):
    assert_same(fill(metric(), shuffled(), sizes).compute(), expected)


def test_scores_can_be_taken_on_the_way(expected):
    """Of what was seen so far, and more may follow."""
    whole, numbers = metric(), shuffled()
    fill(whole, numbers[:100], [100])
    assert whole.statistics().count == 100
    assert_same(fill(whole, numbers[100:], [403]).compute(), expected)


@pytest.mark.parametrize("shares", [[250, 253], [500, 3], [503, 0], [0, 503], [100, 0, 403]], ids=str)
def test_states_of_ranks_combine_to_those_of_one_process(shares, expected):
    """Sums are added and lists are joined, as torchmetrics does: a rank may have seen few images or none."""
    whole = metric()
    for part in shuffled().split(shares):
        rank = fill(metric(), part, [len(part)]) if len(part) else metric()
        for name in ("total", "outer", "count", "non_finite", "features", "logits", "numbers"):
            setattr(whole, name, getattr(whole, name) + getattr(rank, name))
    assert_same(compare(whole.statistics(), reference(), PROTOCOL, whole.extractor), expected)


def on_a_rank(rank, folder, shares, references):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    for case, (first, _) in enumerate(shares):
        numbers = shuffled()[:first] if rank == 0 else shuffled()[first:]
        own = metric(references)
        if len(numbers):
            fill(own, numbers, [len(numbers)])
        torch.save([one.as_dict() for _, one in sorted(own.compute().items())], f"{folder}/{case}.{rank}")
        assert own.statistics().count == COUNT
        assert int(own.count) == len(numbers)  # its own images are still its own
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_get_the_scores_of_one_also_where_one_of_them_has_no_image(tmp_path, expected):
    """Every rank gets all scores, from uneven shares."""
    shares = [(300, 203), (503, 0), (0, 503)]
    torch.multiprocessing.start_processes(on_a_rank, (str(tmp_path), shares, reference()), 2, start_method="fork")
    for case in range(len(shares)):
        for rank in range(2):
            for found, (name, one) in zip(torch.load(tmp_path / f"{case}.{rank}"), sorted(expected.items())):
                assert found["value"] == pytest.approx(one.value, rel=1e-10), name
                assert found["std"] == one.std


@pytest.mark.parametrize(("max_features", "stride"), [(503, 1), (502, 2), (200, 3), (8, 63)])
def test_features_are_kept_of_every_nth_image_and_moments_are_of_all(max_features, stride):
    """The smallest n that leaves at most max_features, in the order of the images."""
    table = extractor()
    metric = Fidelity(table, TorchFidelity(max_features=max_features), SHAPE, COUNT)
    found = fill(metric, shuffled(), [100] * 5 + [3]).statistics()
    assert torch.equal(found.features, table.features[::stride])
    assert len(found.features) <= max_features
    exact = table.features.double()
    assert torch.allclose(found.mean, exact.mean(0), rtol=1e-12)
    assert torch.allclose(found.covariance, exact.T.cov(), rtol=1e-10)
    assert torch.equal(found.logits, table.logits)


def test_moments_are_float64_where_features_vary_little_about_a_large_mean():
    """Float32 sums would leave no digit of this covariance."""
    table = Table(1000 + normal(COUNT, 3, seed=4))
    found = fill(Fidelity(table, PROTOCOL, SHAPE, COUNT), torch.arange(COUNT), [COUNT]).statistics()
    assert torch.allclose(found.covariance, table.features.double().T.cov(), rtol=1e-6)


@pytest.mark.parametrize("protocol", [TorchFidelity, DDPMRelease])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_pixel_that_is_not_a_number_leaves_no_score(protocol, value):
    """Not an FID of what was repaired; the protocols stay, the table shows a word."""
    images = torch.zeros(40, 1, 8, 8)
    images[7, 0, 2, 3] = value
    features, protocol = DigitsFeatures(), protocol(splits=2, kid_subsets=2)
    digits = Digits()
    digits.setup()
    known = {"Digits:test": compute_statistics(split_of(digits, "test"), features, protocol)}
    metric = Fidelity(features, protocol, (1, 8, 8), 40, known)
    metric.update(images, torch.arange(40))
    assert metric.statistics().non_finite == 1
    scores = metric.compute()
    assert scores.keys() == SCORES
    for one in scores.values():
        assert (one.value, one.std, str(one)) == (None, None, "diverged")
        assert one.protocol["samples"] == 40


@pytest.mark.parametrize("output", ["features", "logits"])
def test_features_that_are_not_numbers_are_named(output):
    """An extractor of one's own can divide by zero."""
    table = extractor()
    getattr(table, output)[11, 2] = float("nan")
    metric = fill(Fidelity(table, PROTOCOL, SHAPE, COUNT, reference()), torch.arange(COUNT), [COUNT])
    with pytest.raises(ConfigError, match="^table: its features of the samples are not finite; use"):
        metric.compute()


def test_the_trainers_mixed_precision_does_not_reach_the_features():
    """Scores under bf16-mixed are those under 32-true."""
    images = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = []
    for enabled in (False, True):
        metric = Fidelity(DigitsFeatures(), TorchFidelity(), (1, 8, 8), 9)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            metric.update(images, torch.arange(9))
            found.append(metric.statistics())
    assert torch.equal(found[0].features, found[1].features) and torch.equal(found[0].logits, found[1].logits)
    assert torch.equal(found[0].covariance, found[1].covariance)


def test_how_images_lie_in_memory_does_not_matter():
    """Bit by bit: with one channel, (B, 1, H, W) is in both layouts at once, and kernels choose by the strides."""
    images = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = images.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2).contiguous()
    assert torch.equal(images, other) and images.stride() != other.stride()
    found = []
    for x in (images, other):
        metric = Fidelity(DigitsFeatures(), TorchFidelity(), (1, 8, 8), 9)
        metric.update(x, torch.arange(9))
        found.append(metric.statistics().features)
    assert torch.equal(*found)


def test_further_references_get_a_fid_of_their_own(expected):
    """Both training and test split, as DDPM's table has them."""
    other = compute_statistics(numbered(COUNT), Table(normal(COUNT, 5, seed=5) * 2), PROTOCOL)
    both = Fidelity(extractor(), PROTOCOL, SHAPE, COUNT, {**reference(), "numbers:test": other})
    scores = fill(both, torch.arange(COUNT), [COUNT]).compute()
    assert scores.keys() == SCORES | {"fid/test"}
    assert {name: scores[name] for name in SCORES} == expected
    against_other = Fidelity(extractor(), PROTOCOL, SHAPE, COUNT, {"other": other})
    alone = fill(against_other, torch.arange(COUNT), [COUNT]).compute()
    assert scores["fid/test"].value == alone["fid"].value != expected["fid"].value
    assert scores["fid/test"].protocol["reference"] == "numbers:test, 503 images"


def test_every_score_carries_how_it_was_measured(expected):
    everywhere = {
        "protocol": "TorchFidelity",
        "quantisation": "8 bits",
        "samples": COUNT,
        "features": "table",
        "resize": "none",
    }
    for name, one in expected.items():
        assert everywhere.items() <= one.protocol.items()
        assert len(one.protocol["features_sha256"]) == 64
        assert ("reference" in one.protocol) == (name != "inception_score")
    assert expected["inception_score"].protocol["splits"] == 4
    assert (expected["kid"].protocol["subsets"], expected["kid"].protocol["subset_size"]) == (5, 40)
    assert expected["precision"].protocol["neighbours"] == 3
    assert expected["recall"].protocol["samples_compared"] == len(range(0, COUNT, 3))


def test_kid_takes_all_images_where_there_are_fewer_than_a_subset_has():
    """Then subsets do not vary, and no spread is reported."""
    table, protocol = extractor(), TorchFidelity(kid_subsets=3)
    own, other = (
        compute_statistics(numbered(COUNT), one, protocol) for one in (table, Table(normal(COUNT, 5, seed=2)))
    )
    kid = compare(own, {"other": other}, protocol, table)["kid"]
    assert kid.protocol["subset_size"] == COUNT
    assert kid.std is None and "spread" not in kid.protocol


def test_an_extractor_serves_a_second_metric_where_the_first_has_put_it(monkeypatch):
    """The reference's metric moves it to the GPU before the samples' metric is made."""
    features = DigitsFeatures()
    Fidelity(features, TorchFidelity(), (1, 8, 8), 10).to("meta")
    seen = []
    monkeypatch.setattr(features, "forward", lambda x: seen.append(x.device.type) or (x.flatten(1), x.flatten(1)))
    Fidelity(features, TorchFidelity(), (1, 8, 8), 10)
    assert seen == ["meta"]


def test_nothing_touches_the_global_random_generators(tmp_path_factory):
    """Building extractors, statistics, the cache, and every score: training goes on as if nothing had been."""
    weights = str(inception_file(tmp_path_factory))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    InceptionFeatures(weights).load()
    digits, protocol = Digits(), TorchFidelity(kid_subsets=2)
    digits.setup()
    images, features = split_of(digits, "test"), DigitsFeatures()
    theirs = reference_statistics(images, features, protocol)
    scores = compare(
        compute_statistics(images, features, protocol, keep_logits=True), {"x": theirs}, protocol, features
    )
    assert scores.keys() == SCORES
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]
