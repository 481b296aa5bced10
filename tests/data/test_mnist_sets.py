"""MNIST's format: files of one's own, and the published sets, which are known by the sum of their unpacked content."""

import gzip
import hashlib
import socket
import stat

import numpy as np
import pytest
import torch
from torchvision import datasets

from lit_diffusion.data import MNIST, FashionMNIST, MNISTFiles
from lit_diffusion.data.mnist_files import NAMES
from lit_diffusion.errors import ConfigError

pytestmark = pytest.mark.usefixtures("no_downloads")


def idx(array):
    """A file of MNIST's format: zero, zero, type, dimensions, then their lengths and the values."""
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


def make_arrays(side=28, train=12, test=5):
    random = np.random.default_rng(1)
    shapes = (train, side, side), train, (test, side, side), test
    return {name: random.integers(0, 10, shape, dtype=np.uint8) for name, shape in zip(NAMES, shapes)}


def write(folder, arrays, level=None, rename=lambda name: name):
    """The four files, packed at a level of compression, or not."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx(array) if level is None else gzip.compress(idx(array), level)
        (folder / (rename(name) + ("" if level is None else ".gz"))).write_bytes(content)
    return folder


@pytest.fixture(params=[MNIST, FashionMNIST])
def published(request, monkeypatch, tmp_path):
    """A published set, with `arrays` as its content and Debian's folder in tmp_path."""
    kind, arrays = request.param, make_arrays()
    monkeypatch.setattr(kind, "sums", {name: hashlib.sha256(idx(array)).hexdigest() for name, array in arrays.items()})
    if kind.installed:
        monkeypatch.setattr(kind, "installed", tmp_path / "usr")
    return kind, arrays


def ready(data):
    data.prepare_data()
    data.setup()
    return data


def assert_serves(data, arrays):
    for split, (images, labels) in {"train": NAMES[:2], "test": NAMES[2:]}.items():
        assert torch.equal(data.images(split), torch.from_numpy(arrays[images])[:, None])
        assert data.labels(split).tolist() == arrays[labels].tolist()
    assert data.images("train").shape[1:] == data.image_shape and data.num_levels == 256


def refusal(action, *arguments):
    with pytest.raises(ConfigError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("level", [None, 1, 9])
@pytest.mark.parametrize("below", ["{name}/raw", "."])
def test_files_are_taken_whatever_their_packing(tmp_path, published, below, level):
    """In torchvision's folder or in root itself; nothing is written next to them."""
    kind, arrays = published
    folder = write(tmp_path / "data" / below.format(name=kind.__name__), arrays, level)
    before = sorted(tmp_path.rglob("*"))
    assert_serves(ready(kind(root=str(tmp_path / "data"))), arrays)
    assert sorted(tmp_path.rglob("*")) == before and len([*folder.glob("*ubyte*")]) == 4


def test_a_package_of_the_system_is_found_if_root_has_nothing_and_only_read(tmp_path, monkeypatch):
    arrays = make_arrays()
    sums = {name: hashlib.sha256(idx(array)).hexdigest() for name, array in arrays.items()}
    monkeypatch.setattr(FashionMNIST, "sums", sums)
    folder = write(tmp_path / "usr", arrays, 6)
    monkeypatch.setattr(FashionMNIST, "installed", folder)
    for path in (*folder.iterdir(), folder):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    assert_serves(ready(FashionMNIST(root=str(tmp_path / "data"))), arrays)
    assert_serves(ready(FashionMNIST(root=str(folder), download=False)), arrays)
    assert not (tmp_path / "data").exists() and len([*folder.iterdir()]) == 4
    folder.chmod(0o755)
    write(tmp_path / "data", make_arrays(train=3))
    assert "expected content of SHA-256" in refusal(ready, FashionMNIST(root=str(tmp_path / "data")))


def test_another_file_is_refused_by_name(tmp_path, published):
    """Whole and of the right size, but with one level of one pixel changed."""
    kind, arrays = published
    name = NAMES[2]
    changed = arrays[name].copy()
    changed[0, 0, 0] ^= 1
    folder = write(tmp_path / kind.__name__ / "raw", {**arrays, name: changed}, 6)
    message = refusal(ready, kind(root=str(tmp_path)))
    assert message.startswith(f"root: {folder}/{name}.gz: expected content of SHA-256 {kind.sums[name]}, got ")
    assert "; delete it to have it downloaded again; if the files are your own, use " in message
    assert message.endswith(f"--data=MNISTFiles --data.root={folder}")


DAMAGES = {
    "shorter, packed": (lambda b: gzip.compress(b)[:-20], "Compressed file ended before the end-of-stream marker"),
    "cut in the checksum": (lambda b: gzip.compress(b)[:-3], "Compressed file ended before the end-of-stream marker"),
    "a flipped bit": (lambda b: gzip.compress(b)[:-6] + b"\1" + gzip.compress(b)[-5:], "CRC check failed"),
    "shorter": (lambda b: b[:-1], "truncated: its header says 12x28x28 bytes, but 9,407 follow"),
    "huge sides": (lambda b: b[:4] + b"\x7f\xff\xff\xff" * 3, "truncated: its header says 2147483647x2147483647x2"),
    "longer": (lambda b: b + b"x", "longer than its header says, which is 12x28x28"),
    "empty": (lambda b: b"", "not a file of MNIST's format"),
    "a page of HTML": (lambda b: b"<!DOCTYPE html>", "not a file of MNIST's format"),
    "floats": (lambda b: b[:2] + b"\x0d" + b[3:], "values of type 0x0d; expected 0x08, unsigned bytes"),
    "a bomb": (lambda b: gzip.compress(b[:4] + b"\xff\xff\xff\xff" * 3), "decompression bomb"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("own", [True, False])
def test_a_damaged_file_is_refused_by_name(tmp_path, published, damage, own):
    kind, arrays = published
    folder = write(tmp_path / "data", arrays)
    make, said = DAMAGES[damage]
    (folder / NAMES[0]).write_bytes(make(idx(arrays[NAMES[0]])))
    message = refusal(ready, MNISTFiles(root=str(folder)) if own else kind(root=str(folder)))
    assert message.startswith(f"root: {folder}/{NAMES[0]} cannot be read (") and said in message
    assert message.endswith("); replace it")


def test_missing_files_without_a_network_are_said_with_every_way_to_get_them(tmp_path, published):
    kind, arrays = published
    message = refusal(ready, kind(root=str(tmp_path / "data")))
    assert message.startswith(f"root: no {kind.__name__} in '{tmp_path}/data': missing: {', '.join(NAMES)} (")
    assert "Network is unreachable" in message and "connect to the network" in message
    assert ("apt-get install dataset-fashion-mnist" in message) is (kind is FashionMNIST)
    assert message.endswith(f"or put {', '.join(f'{name}.gz' for name in NAMES)} into {tmp_path}/data")
    assert not (tmp_path / "data").exists()
    write(tmp_path / "data" / kind.__name__ / "raw", {name: arrays[name] for name in NAMES[:3]}, 6)
    message = refusal(ready, kind(root=str(tmp_path / "data"), download=False))
    assert (
        f"missing: {NAMES[3]}; " in message and f"put {NAMES[3]}.gz into {tmp_path}/data/{kind.__name__}/raw" in message
    )


@pytest.mark.parametrize("there", ["", "data", "data/MNIST"])
def test_a_failed_download_leaves_no_empty_folder_behind(tmp_path, there):
    """Of those that it has made; folders that were there stay. The time limit of other connections is as before."""
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    refusal(MNIST(root=str(tmp_path / "data")).prepare_data)
    assert sorted(tmp_path.rglob("*")) == before and socket.getdefaulttimeout() is None


def test_only_missing_files_are_downloaded_and_only_whole_ones_kept(tmp_path, monkeypatch, published):
    """The first mirror fails; an archive of another packing stays what it was."""
    kind, arrays = published
    folder = write(tmp_path / kind.__name__ / "raw", {name: arrays[name] for name in NAMES[1:]}, 1)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    packed = gzip.compress(idx(arrays[NAMES[0]]))
    source = getattr(datasets, kind.__name__)
    resources = [(f"{NAMES[0]}.gz", hashlib.md5(packed).hexdigest()), *((f"{name}.gz", "") for name in NAMES[1:])]
    monkeypatch.setattr(source, "resources", resources)
    monkeypatch.setattr(source, "mirrors", ["bad/", "good/"])
    monkeypatch.setattr(datasets.utils, "_get_redirect_url", lambda url, **_: url)

    def retrieve(url, filename):
        with open(filename, "wb") as file:
            file.write(packed if url.startswith("good") else packed[:-1])

    monkeypatch.setattr(datasets.utils, "_urlretrieve", retrieve)
    assert_serves(ready(kind(root=str(tmp_path))), arrays)
    assert {path: path.read_bytes() for path in folder.iterdir()} == {**before, folder / f"{NAMES[0]}.gz": packed}
    (folder / f"{NAMES[0]}.gz").unlink()
    monkeypatch.setattr(source, "mirrors", ["bad/"])
    assert f"missing: {NAMES[0]} (" in refusal(ready, kind(root=str(tmp_path)))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


RENAMED = {
    "as published": ("", lambda name: name),
    "with points": ("", lambda name: name.replace("-idx", ".idx")),
    "as EMNIST": ("emnist-letters-", lambda name: "emnist-letters-" + name.replace("t10k", "test")),
}


@pytest.mark.parametrize("level", [None, 6])
@pytest.mark.parametrize("names", RENAMED)
def test_ones_own_files_may_have_other_counts_and_sizes(tmp_path, names, level):
    prefix, rename = RENAMED[names]
    arrays = make_arrays(side=20, train=7, test=0)
    folder = write(tmp_path / "own", arrays, level, rename)
    assert_serves(ready(MNISTFiles(root=str(folder), size=20, prefix=prefix)), arrays)


def test_ones_own_files_that_do_not_fit_are_refused(tmp_path):
    arrays = make_arrays()
    folder = write(tmp_path / "own", arrays)
    message = refusal(ready, MNISTFiles(root=str(folder), size=32))
    assert message == f"size: expected 28, as train images in '{folder}' have 28x28 pixels, got 32; set size: 28"
    message = refusal(ready, MNISTFiles(root=str(folder), prefix="emnist-"))
    assert f"missing: emnist-{NAMES[0]}, " in message and f"set prefix if {sorted(NAMES)[0]}, " in message
    write(folder, {NAMES[1]: arrays[NAMES[1]][:-1]})
    assert refusal(ready, MNISTFiles(root=str(folder))) == (
        f"root: {folder}/{NAMES[0]} has 12 images, but {folder}/{NAMES[1]} 11 labels; use files that belong together"
    )
    write(folder, {NAMES[1]: arrays[NAMES[0]]})
    assert f"{folder}/{NAMES[1]}: expected 1 dimensions, got 3; replace it" in refusal(ready, MNISTFiles(str(folder)))
    write(folder, {NAMES[i]: arrays[NAMES[i]][:0] for i in (0, 1)})
    assert (
        refusal(ready, MNISTFiles(str(folder))) == f"root: {folder}/{NAMES[0]}: expected images, found none; replace it"
    )
    write(folder, {**arrays, NAMES[0]: arrays[NAMES[0]][:, :20]})
    assert "expected squares, but train images in" in refusal(ready, MNISTFiles(root=str(folder)))
    assert "put them there" in refusal(ready, MNISTFiles(root=str(tmp_path / "nowhere")))


@pytest.mark.skipif(not FashionMNIST.installed.exists(), reason="needs Debian's package dataset-fashion-mnist")
def test_debians_package_is_fashion_mnist(tmp_path):
    """Ten classes of equal size, and the mean and deviation of its pixels that its users know."""
    data = ready(FashionMNIST(root=str(tmp_path / "data")))
    assert data.sizes == {"train": 60_000, "test": 10_000}
    assert data.labels("train").bincount().tolist() == [6000] * 10 == [*data.labels("test").bincount() * 6]
    pixels = data.images("train").double() / 255
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (0.2860, 0.3530)
    assert data.class_names[data.labels("train")[0]] == "Ankle boot"
