"""The classifier that ships with the package: it knows digits, and it is the one that scores are labelled with."""

from importlib.resources import files

import pytest
import torch

from lit_diffusion.data import Digits
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import DigitsFeatures, Fidelity, TorchFidelity, digits_features
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.pixels import to_float


@pytest.fixture(scope="module")
def data():
    data = Digits()
    data.setup()
    return data


@pytest.fixture(scope="module")
def features():
    features = DigitsFeatures()
    features.load()
    return features


def content():
    return files("lit_diffusion.metrics").joinpath("weights", digits_features.FILE).read_bytes()


def pixels(data, split):
    return (to_float(data.images(split), data.num_levels) + 1) * 127.5


@pytest.mark.parametrize(("split", "least"), [("train", 0.99), ("test", 0.97)])
def test_it_knows_at_least_97_of_100_held_out_digits(data, features, split, least):
    _, logits = features(pixels(data, split))
    assert (logits.argmax(1) == data.labels(split)).double().mean() >= least


def test_its_logits_are_a_linear_function_of_its_features(data, features):
    """FID and IS look at the same network: features are what its last layer sees."""
    found, logits = features(pixels(data, "test"))
    assert found.shape == (297, 64) and logits.shape == (297, 10)
    assert found.std(0).min() > 0.1
    assert torch.allclose(logits, found @ features.head.weight.T + features.head.bias, atol=1e-4)


def test_the_same_images_always_give_the_same_features(data):
    """No dropout is left on."""
    x = pixels(data, "test")[:20]
    one, other = DigitsFeatures(), DigitsFeatures()
    one.load(), other.load()
    assert torch.equal(one(x)[0], one(x)[0]) and torch.equal(one(x)[0], other(x)[0])


def test_the_file_is_small_and_the_one_whose_hash_stands_beside_every_score(data, features):
    assert len(content()) < 300_000
    assert sha256_of(content()) == digits_features.SHA256 == features.sha256
    metric = Fidelity(features, TorchFidelity(splits=2, neighbours=1), (1, 8, 8), 8)
    metric.update(to_float(data.images("test")[:8], 17), torch.arange(8))
    metric.references = {"itself": metric.statistics()}
    for one in metric.compute().values():
        assert one.protocol["features"] == "digits-classifier"
        assert one.protocol["features_sha256"] == digits_features.SHA256


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_byte_that_has_changed_is_noticed(tmp_path, monkeypatch, place):
    """Both hashes are named, and what to do."""
    damaged = bytearray(content())
    damaged[place] ^= 1
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / digits_features.FILE).write_bytes(damaged)
    monkeypatch.setattr(digits_features, "files", lambda package: tmp_path)
    with pytest.raises(ConfigError) as error:
        DigitsFeatures().load()
    assert str(error.value) == (
        f"{digits_features.FILE} is damaged: expected SHA-256 {digits_features.SHA256}, got "
        f"{sha256_of(bytes(damaged))}; reinstall the package"
    )


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_images_of_another_shape_are_refused(shape):
    words = f"{'' if shape[0] == 1 else 'RGB '}images of {shape[1]}x{shape[2]} pixels"
    with pytest.raises(ConfigError, match=f"expected grey images of 8x8 pixels, got {words}; use InceptionFeatures"):
        DigitsFeatures().check(shape)
    assert DigitsFeatures().check((1, 8, 8)) is None
