"""CIFAR10, on files that the tests write in torchvision's own on-disk format."""

import tarfile

import numpy as np
import pytest
import torch
from torchvision import datasets

from lit_diffusion.data import CIFAR10
from lit_diffusion.errors import ConfigError
from tests.conftest import CIFAR10_TRAIN, md5, write_cifar10

pytestmark = pytest.mark.usefixtures("no_downloads")


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Eight images a file; returns (root, pixels of each file, labels of each file)."""
    return tmp_path, *write_cifar10(tmp_path, 8, monkeypatch)


def ready(data):
    data.prepare_data()
    data.setup()
    return data


def test_cifar10_serves_the_written_pixels_in_file_order(cifar10):
    root, pixels, labels = cifar10
    data = ready(CIFAR10(batch_size=8, root=str(root)))
    expected = torch.from_numpy(np.concatenate([pixels[name] for name in CIFAR10_TRAIN])).view(-1, 3, 32, 32)
    assert torch.equal(data.images("train"), expected)
    assert torch.equal(data.images("test"), torch.from_numpy(pixels["test_batch"]).view(-1, 3, 32, 32))
    assert data.labels("train").tolist() == sum((labels[name] for name in CIFAR10_TRAIN), [])
    assert data.sizes == {"train": 40, "test": 8} and data.image_shape == (3, 32, 32) and data.num_levels == 256


def test_cifar10_flips_by_default_as_in_the_paper():
    assert CIFAR10().flip and CIFAR10().batch_size == 128


@pytest.mark.parametrize("download", [True, False])
def test_a_damaged_cifar10_file_is_refused_by_name(cifar10, download):
    root, *_ = cifar10
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"^root: .*: damaged: data_batch_3 \(") as error:
        ready(CIFAR10(root=str(root), download=download))
    assert "data_batch_1" not in str(error.value) and "\n" not in str(error.value)


def test_missing_cifar10_without_a_network_says_which_file_belongs_where(tmp_path):
    with pytest.raises(ConfigError, match="^root: ") as error:
        ready(CIFAR10(root=str(tmp_path)))
    message = str(error.value)
    assert "missing: data_batch_1, data_batch_2, " in message and "Network is unreachable" in message
    assert f"put cifar-10-python.tar.gz into {tmp_path}," in message and "\n" not in message


def test_missing_cifar10_that_may_not_be_downloaded_asks_for_no_network(tmp_path):
    with pytest.raises(ConfigError, match="missing: .*, test_batch, .* set download: true"):
        ready(CIFAR10(root=str(tmp_path), download=False))
    assert not any(tmp_path.iterdir())


def test_an_archive_put_in_its_place_is_unpacked_without_a_network(cifar10, tmp_path_factory, monkeypatch):
    source, pixels, _ = cifar10
    root = tmp_path_factory.mktemp("fetched")
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(source / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(root / "cifar-10-python.tar.gz"))
    data = ready(CIFAR10(root=str(root)))
    assert torch.equal(data.images("test").flatten(1), torch.from_numpy(pixels["test_batch"]))


@pytest.mark.parametrize("there", ["", "data"])
def test_a_failed_download_leaves_no_empty_folder_behind(tmp_path, there):
    """Of those that it has made; a folder that was there stays."""
    (tmp_path / there).mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError):
        CIFAR10(root=str(tmp_path / "data")).prepare_data()
    assert sorted(tmp_path.rglob("*")) == before
