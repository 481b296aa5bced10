"""Where Inception's weights are looked for, what is said where they are missing or other, and what goes in."""

import pickle
import socket
from http.client import IncompleteRead
from urllib.error import URLError

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import Fidelity, InceptionFeatures, TorchFidelity, inception
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.metrics.inception import resize_bilinear
from tests.metrics.made import inception_file

NAME = "weights-inception-2015-12-05-6726825d.pth"
OFFICIAL = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return inception_file(tmp_path_factory)


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """The folder where torch keeps checkpoints, which does not exist yet."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *args, **kwargs: pytest.fail("no network here"))
    return tmp_path / "torch/hub/checkpoints"


def mistake(weights=None) -> str:
    with pytest.raises(ConfigError) as error:
        InceptionFeatures(weights).load()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (URLError("no route to host"), "no route to host"),
        (TimeoutError("timed out"), "timed out"),
        (RuntimeError('invalid hash value (expected "67", got "12")'), "invalid hash value"),
        (IncompleteRead(b""), "IncompleteRead"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_that_cannot_be_fetched_are_named_with_hash_and_places(checkpoints, monkeypatch, failure, reason):
    """One line with everything that somebody on another machine needs; the time limit is gone afterwards."""

    def fail(url, file, digest, progress):
        assert (url.endswith(NAME), file, digest) == (True, str(checkpoints / NAME), OFFICIAL)
        assert 0 < socket.getdefaulttimeout() < 60
        raise failure

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    message = mistake()
    for part in (reason, NAME, OFFICIAL, f"into {checkpoints},", "TORCH_HOME", "to its path"):
        assert part in message
    assert socket.getdefaulttimeout() is None


def test_a_cache_that_cannot_be_made_is_said_in_the_same_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    assert "cannot be downloaded (NotADirectoryError" in mistake()


@pytest.mark.parametrize("name", [NAME, "pt_inception-2015-12-05-6726825d.pth"])
def test_the_file_of_torch_fidelity_or_of_pytorch_fid_is_found_in_torch_home(checkpoints, monkeypatch, weights, name):
    checkpoints.mkdir(parents=True)
    (checkpoints / name).write_bytes(weights.read_bytes())
    digest = sha256_of(weights.read_bytes())
    monkeypatch.setattr(inception, "SHA256", digest)
    features = InceptionFeatures()
    features.load()
    assert (features.name, features.sha256) == ("inception-v3-compat", digest)


def test_what_is_fetched_is_read(checkpoints, monkeypatch, weights):
    monkeypatch.setattr(inception, "SHA256", sha256_of(weights.read_bytes()))

    def fetch(url, file, digest, progress):
        (checkpoints / NAME).write_bytes(weights.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    features = InceptionFeatures()
    features.load()
    assert features.sha256 == inception.SHA256


def test_a_damaged_file_in_the_cache_is_named_with_both_hashes(checkpoints):
    """It is neither used nor fetched over."""
    checkpoints.mkdir(parents=True)
    (checkpoints / NAME).write_bytes(b"half a file")
    digest = sha256_of(b"half a file")
    assert mistake() == (
        f"{checkpoints / NAME} is damaged: expected SHA-256 {OFFICIAL}, got {digest}; remove it to download it again"
    )


class Code:
    """Unpickled, this calls a function."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def other_files(weights, folder):
    """Files that hold no Inception, and what is said of each."""
    state = torch.load(weights)
    missing = {name: value for name, value in state.items() if not name.startswith("Mixed_7c")}
    shapes = {**state, "fc.weight": torch.zeros(1000, 2048)}
    no_tensors, others = "is not a file of tensors", "does not hold Inception's weights"
    for name, content, said in (
        ("empty", b"", no_tensors),
        ("text", b"hello", no_tensors),
        ("truncated", weights.read_bytes()[:1_000_000], no_tensors),
        ("code", pickle.dumps(Code(folder / "executed")), no_tensors),
        ("torch-code", Code(folder / "executed"), no_tensors),
        ("missing", missing, others),
        ("shapes", shapes, others),
        ("list", [1, 2], others),
    ):
        path = folder / f"{name}.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        yield path, said


def test_a_given_file_that_holds_something_else_is_named_with_its_hash_and_runs_no_code(tmp_path, weights):
    """Not a torch file, pickled code, other tensors: each is one line with the hash that the official file has."""
    for path, said in other_files(weights, tmp_path):
        assert mistake(str(path)) == (
            f"{path} (SHA-256 {sha256_of(path.read_bytes())}) {said}; use the official file {NAME}, SHA-256 {OFFICIAL}"
        )
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(("name", "reason"), [("nowhere.pth", "No such file"), ("", "Is a directory")])
def test_a_given_path_without_a_file_is_said(tmp_path, name, reason):
    message = mistake(str(tmp_path / name))
    assert message.startswith(f"{tmp_path / name} cannot be read ({reason}")
    assert message.endswith(f"; set weights to a file of Inception's weights, or omit it to use {NAME}")


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert mistake("~/x.pth").startswith(f"{tmp_path}/x.pth cannot be read")


def test_other_weights_than_the_official_ones_are_said_to_be_other(weights):
    features = InceptionFeatures(str(weights))
    features.load()
    assert features.describe() == {
        "features": "inception-v3-compat with other weights",
        "features_sha256": sha256_of(weights.read_bytes()),
        "resize": "bilinear of TensorFlow 1 to 299x299, no antialiasing",
    }


def test_the_memory_layouts_do_not_share_a_cache(weights):
    """Their features differ by rounding."""
    both = [InceptionFeatures(str(weights), channels_last) for channels_last in (False, True)]
    for features in both:
        features.load()
    assert both[0].key != both[1].key


def test_grey_images_are_repeated_to_three_channels_which_is_said_and_others_refused(weights):
    features = InceptionFeatures(str(weights))
    grey = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = []
    for images in (grey, grey.expand(-1, 3, -1, -1)):
        metric = Fidelity(features, TorchFidelity(), images.shape[1:], 3)
        metric.update(images, torch.arange(3))
        found.append(metric.statistics())
    assert torch.equal(found[0].features, found[1].features) and torch.equal(found[0].logits, found[1].logits)
    assert found[0].features.std() > 0.1
    assert features.check((3, 8, 8)) is None
    assert features.check((1, 8, 8)) == "Inception expects colour images; grey images are repeated to three channels"
    with pytest.raises(ConfigError, match="^InceptionFeatures: expected 1 or 3 channels, got 4; use other features$"):
        features.check((4, 8, 8))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 30), (32, 32), (299, 299), (300, 600)], ids=str)
def test_the_resize_is_torch_fidelitys_to_the_last_bit(size):
    x = 255 * torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        resize_bilinear(x), interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    )


@pytest.mark.parametrize(("channels_last", "tolerance"), [(False, 1e-6), (True, 1e-4)])
def test_features_and_logits_are_those_of_torch_fidelitys_network(weights, channels_last, tolerance):
    """From bytes of another size than 299: resize, scaling, both outputs."""
    network = FeatureExtractorInceptionV3("", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights))
    features = InceptionFeatures(str(weights), channels_last)
    features.load()
    images = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs, ours = network(images), features(images.float())
    for one, other in zip(ours, theirs):
        assert (one - other).norm() <= tolerance * other.norm()


def test_nothing_is_read_before_it_is_needed_and_then_once(weights, monkeypatch):
    """A run that scores nothing needs no weights."""
    reads = []
    read = InceptionFeatures.read
    monkeypatch.setattr(InceptionFeatures, "read", lambda self: reads.append(1) or read(self))
    features = InceptionFeatures(str(weights))
    assert not reads
    features.load(), features.load()
    assert len(reads) == 1
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert not any(module.training for module in features.modules() if isinstance(module, torch.nn.BatchNorm2d))
