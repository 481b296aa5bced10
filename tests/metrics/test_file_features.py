"""Features of one's own, as programs in files."""

import warnings

import pytest
import torch
from torch import nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import DDPMRelease, FileFeatures, TorchFidelity, compare
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.metrics.reference_statistics import compute_statistics
from tests.metrics.made import SCORES, SHAPE, numbered


class Bytes(nn.Module):
    """Features (B, 2) of images (B, 1, 1, 2) uint8, and logits (B, 3)."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(2, 3)

    def forward(self, x):
        features = self.dropout(x.flatten(1).float() / 100)
        return features, self.linear(features)


class FeaturesAlone(nn.Module):
    """Features without logits."""

    def forward(self, x):
        return x.flatten(1).float() / 100


def write(module: nn.Module, path):
    """A file of the kind that its suffix says; TorchScript in training mode, as it is easily left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".pt":
            torch.jit.save(torch.jit.script(module.train()), path)
        else:
            example = torch.zeros(3, *SHAPE, dtype=torch.uint8)
            batch = torch.export.Dim("batch")
            torch.export.save(torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},)), path)
    return str(path)


def pixels(count=5):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0)) * 255


@pytest.fixture(params=["pt", "pt2"])
def suffix(request):
    return request.param


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Bytes()


def test_a_program_gets_bytes_and_gives_features_and_logits(tmp_path, module, suffix):
    """Floats are rounded to the nearest level first."""
    features = FileFeatures(write(module, tmp_path / f"own.{suffix}"))
    features.load()
    for count in (1, 5, 64):
        found, logits = features(pixels(count))
        assert torch.allclose(found, pixels(count).round().flatten(1) / 100)
        assert torch.allclose(logits, module.linear(found), atol=1e-5)


def test_a_program_without_logits_gives_its_features_to_is(tmp_path, suffix):
    features = FileFeatures(write(FeaturesAlone(), tmp_path / f"own.{suffix}"))
    features.load()
    found, logits = features(pixels())
    assert torch.allclose(found, pixels().round().flatten(1) / 100) and torch.equal(found, logits)


def test_scores_of_a_program_carry_its_file_and_hash_and_what_it_sees(tmp_path, module, suffix):
    """Bytes, under any protocol."""
    path = tmp_path / f"own.{suffix}"
    features, protocol = FileFeatures(write(module, path)), DDPMRelease(kid_subsets=2)
    one, other = (compute_statistics(numbered(count), features, protocol, keep_logits=True) for count in (300, 280))
    scores = compare(one, {"other": other}, protocol, features)
    assert scores.keys() == SCORES
    for score in scores.values():
        assert score.protocol["features"] == f"own.{suffix}"
        assert score.protocol["features_sha256"] == sha256_of(path.read_bytes())
        assert score.protocol["quantisation"] == "8 bits"


@pytest.mark.parametrize("content", ["missing", "empty", "text", "weights", "other kind"])
def test_a_file_that_is_not_a_program_is_named_with_its_hash(tmp_path, suffix, content, module):
    path = tmp_path / f"own.{suffix}"
    if content == "other kind":
        other = tmp_path / f"other.{'pt2' if suffix == 'pt' else 'pt'}"
        write(module, other)
        path.write_bytes(other.read_bytes())
    elif content == "weights":
        torch.save(module.state_dict(), path)
    elif content != "missing":
        path.write_bytes({"empty": b"", "text": b"hello"}[content])
    with pytest.raises(ConfigError) as error:
        FileFeatures(str(path)).load()
    message = str(error.value)
    assert "\n" not in message
    if content == "missing":
        assert message.startswith(f"{path} cannot be read (No such file") and "; set path to a .pt2" in message
    else:
        assert message.startswith(f"{path} (SHA-256 {sha256_of(path.read_bytes())}): expected a file of torch.export")
        assert message.endswith("; save the program again")


class WantsFloats(nn.Module):
    """A convolution takes no bytes."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 1)

    def forward(self, x):
        return self.convolution(x).flatten(1)


class OneNumber(nn.Module):
    """A loss, not features."""

    def forward(self, x):
        return x.float().mean()


@pytest.mark.parametrize("program", [WantsFloats, OneNumber])
def test_a_program_of_another_kind_is_said_in_a_line(tmp_path, program):
    path = write(program(), tmp_path / "own.pt")
    with pytest.raises(
        ConfigError, match=r"own.pt: expected a program from uint8 images \(1, 1, 1, 2\) to tensors"
    ) as error:
        compute_statistics(numbered(20), FileFeatures(path), TorchFidelity())
    assert "\n" not in str(error.value) and str(error.value).endswith("; export it for such images and any B")
