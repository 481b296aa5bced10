"""The readers, on files that the tests write in torchvision's own on-disk formats."""

import gzip
import socket
import tarfile
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.datasets import mnist, utils

from lit_diffusion.data import CIFAR10, MNIST, FashionMNIST
from lit_diffusion.errors import ConfigError
from tests.conftest import CIFAR10_TRAIN, md5, write_cifar10


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test of this file reaches for the network."""

    def refuse(*args, **kwargs):
        assert socket.getdefaulttimeout() is not None, "a silent firewall would hold the run up for minutes"
        raise URLError("Network is unreachable")

    monkeypatch.setattr(utils, "_get_redirect_url", refuse)
    monkeypatch.setattr(utils, "_urlretrieve", refuse)


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Eight images a file; returns (root, pixels of each file, labels of each file)."""
    return tmp_path, *write_cifar10(tmp_path, 8, monkeypatch)


def ready(data):
    data.prepare_data()
    data.setup()
    return data


def idx(array):
    """A file of the MNIST format: zero, zero, type, dimensions, then their lengths and the values."""
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


def mnist_files():
    random = np.random.default_rng(1)
    files = {}
    for split, count in (("train", 12), ("t10k", 5)):
        files[f"{split}-images-idx3-ubyte"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        files[f"{split}-labels-idx1-ubyte"] = random.integers(0, 10, count, dtype=np.uint8)
    return files


def test_cifar10_serves_the_written_pixels_in_file_order(cifar10):
    root, pixels, labels = cifar10
    data = ready(CIFAR10(batch_size=8, root=str(root)))
    expected = torch.from_numpy(np.concatenate([pixels[name] for name in CIFAR10_TRAIN])).view(-1, 3, 32, 32)
    assert torch.equal(data.images("train"), expected)
    assert torch.equal(data.images("test"), torch.from_numpy(pixels["test_batch"]).view(-1, 3, 32, 32))
    assert data.labels("train").tolist() == sum((labels[name] for name in CIFAR10_TRAIN), [])
    assert data.sizes == {"train": 40, "test": 8} and data.image_shape == (3, 32, 32) and data.num_levels == 256


def test_cifar10_flips_by_default_as_in_the_paper_and_the_digits_do_not():
    assert CIFAR10().flip and CIFAR10().batch_size == 128 and not MNIST().flip and not FashionMNIST().flip


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


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_mnist_serves_the_written_pixels(tmp_path, kind):
    files = mnist_files()
    folder = tmp_path / kind.__name__ / "raw"
    folder.mkdir(parents=True)
    for name, array in files.items():
        (folder / name).write_bytes(idx(array))
    data = ready(kind(batch_size=4, root=str(tmp_path)))
    for split, prefix in (("train", "train"), ("test", "t10k")):
        assert torch.equal(data.images(split)[:, 0], torch.from_numpy(files[f"{prefix}-images-idx3-ubyte"]))
        assert data.labels(split).tolist() == files[f"{prefix}-labels-idx1-ubyte"].tolist()
    assert data.images("train").shape[1:] == data.image_shape == (1, 28, 28) and data.num_levels == 256


def test_mnist_archives_put_in_their_place_are_unpacked_without_a_network(tmp_path, monkeypatch):
    files = mnist_files()
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, array in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    resources = [(f"{name}.gz", md5(folder / f"{name}.gz")) for name in files]
    monkeypatch.setattr(mnist.MNIST, "resources", resources)
    data = ready(MNIST(root=str(tmp_path)))
    assert torch.equal(data.images("train")[:, 0], torch.from_numpy(files["train-images-idx3-ubyte"]))


def test_a_damaged_mnist_file_is_refused_by_name(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, array in mnist_files().items():
        content = idx(array)
        (folder / name).write_bytes(content[:-100] if name == "train-images-idx3-ubyte" else content)
    with pytest.raises(ConfigError, match=r"^root: .*: damaged: train-images-idx3-ubyte \(.*delete damaged files"):
        ready(MNIST(root=str(tmp_path)))


def test_missing_fashion_mnist_without_a_network_says_which_files_belong_where(tmp_path):
    with pytest.raises(ConfigError, match="^root: no FashionMNIST ") as error:
        ready(FashionMNIST(root=str(tmp_path / "data")))
    message = str(error.value)
    for name in mnist_files():
        assert f" {name}" in message and f" {name}.gz" in message
    assert str(tmp_path / "data" / "FashionMNIST" / "raw") in message and "\n" not in message


@pytest.mark.parametrize("there", ["", "data", "data/MNIST"])
def test_a_failed_download_leaves_no_empty_folder_behind(tmp_path, there):
    """Of those that it has made; folders that were there stay, and so does anything that was fetched."""
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError):
        MNIST(root=str(tmp_path / "data")).prepare_data()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_download_leaves_the_time_limit_of_other_connections_alone(tmp_path):
    with pytest.raises(ConfigError):
        MNIST(root=str(tmp_path)).prepare_data()
    assert socket.getdefaulttimeout() is None
