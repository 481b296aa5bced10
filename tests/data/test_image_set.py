"""Images to be scored, from folders, NPZ files and splits: taken as they are, or refused in a line."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.data import Digits
from lit_diffusion.data.image_set import open_images, split_of
from lit_diffusion.errors import ConfigError
from tests.conftest import write_cifar10

CPU = torch.device("cpu")


def pixels(count=5, height=6, width=4, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def write_folder(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(folder / f"{i}.png")
    return str(folder)


def write_npz(path, images):
    np.savez(path, images)
    return str(path)


def served(images, batch=2):
    """All images in order, as 8 bits: (N, C, H, W)."""
    found = torch.cat(list(images.batches(torch.arange(len(images)).split(batch), CPU)))
    assert found.dtype == torch.float32 and found.min() >= -1 and found.max() <= 1
    return ((found + 1) * 127.5).round().to(torch.uint8)


def channels_first(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_and_an_npz_file_of_the_same_images_are_the_same(tmp_path, channels):
    """In order, of any shape, neither cropped nor resized."""
    images = pixels(channels=channels)
    folder = open_images(write_folder(tmp_path / "folder", images), channels)
    npz = open_images(write_npz(tmp_path / "x.npz", images), channels)
    for one in (folder, npz):
        assert (len(one), one.shape, one.num_levels) == (5, (channels, 6, 4), 256)
        assert torch.equal(served(one), channels_first(images))
    assert (folder.name, npz.name) == (str(tmp_path / "folder"), str(tmp_path / "x.npz"))


def test_grey_files_come_in_three_channels_unless_one_is_asked_for(tmp_path):
    images = pixels(channels=1)
    folder = write_folder(tmp_path / "folder", images)
    assert torch.equal(served(open_images(folder)), channels_first(images).expand(-1, 3, -1, -1))
    assert torch.equal(served(open_images(folder, 1)), channels_first(images))


def test_grey_images_in_three_channels_of_an_npz_file_are_grey_where_one_is_asked_for(tmp_path):
    """As `lightning predict` writes them; colour stays colour."""
    grey = np.repeat(pixels(channels=1), 3, axis=-1)
    path = write_npz(tmp_path / "grey.npz", grey)
    assert torch.equal(served(open_images(path, 1)), channels_first(grey)[:, :1])
    assert torch.equal(served(open_images(path)), channels_first(grey))
    grey[3, 0, 0, 1] ^= 1
    assert open_images(write_npz(tmp_path / "colour.npz", grey), 1).shape == (3, 6, 4)


def test_whatever_arrays_can_be_trained_on_can_be_scored(tmp_path):
    """NPY files, other names of the array in NPZ files, grey images without an axis for channels, and 16 bits."""
    grey = pixels(channels=1).transpose(0, 2, 1, 3)  # 4x6
    np.save(tmp_path / "x.npy", grey[..., 0])
    np.savez(tmp_path / "named.npz", images=grey, labels=np.arange(5))
    for name in ("x.npy", "named.npz"):
        assert torch.equal(served(open_images(str(tmp_path / name))), channels_first(grey))
    deep = grey.astype(np.uint16) * 257
    deep[0, 0, 0] = 40000
    found = open_images(write_npz(tmp_path / "deep.npz", deep))
    assert (found.num_levels, found.shape) == (65536, (1, 4, 6))
    (x,) = found.batches([torch.arange(5)], CPU)
    assert torch.equal(((x + 1) * 32767.5).round().long(), channels_first(deep.astype(np.int64)))


def test_colours_of_a_folder_are_not_dropped_where_grey_is_asked_for(tmp_path):
    """Grey files in three channels are grey; one coloured pixel is said."""
    grey = np.repeat(pixels(channels=1), 3, axis=-1)
    folder = write_folder(tmp_path / "folder", grey)
    assert torch.equal(served(open_images(folder, 1)), channels_first(grey)[:, :1])
    grey[3, 0, 0, 1] ^= 1
    with pytest.raises(ConfigError, match=r"3.png: expected a grey image, got colours; convert it, or use other"):
        served(open_images(write_folder(tmp_path / "colour", grey), 1))


def test_compressed_npz_and_npy_files_are_read_too(tmp_path):
    images = pixels()
    np.savez_compressed(tmp_path / "x.npz", images, labels=np.zeros(5))
    np.save(tmp_path / "x.npy", images)
    for name in ("x.npz", "x.npy"):
        assert torch.equal(served(open_images(str(tmp_path / name))), channels_first(images))


def test_a_split_is_that_of_its_data_set(tmp_path, monkeypatch):
    """Digits with their 17 levels; CIFAR10 from the folder that is named."""
    digits = open_images("digits:test")
    data = Digits()
    data.setup()
    assert (len(digits), digits.shape, digits.num_levels, digits.name) == (297, (1, 8, 8), 17, "Digits:test")
    x = next(digits.batches([torch.arange(297)], CPU))
    assert torch.equal(x, data.images("test").float() / 8 - 1)
    assert digits.fingerprint == split_of(data, "test").fingerprint != open_images("digits:train").fingerprint
    written, _ = write_cifar10(tmp_path, 3, monkeypatch)
    cifar10 = open_images("cifar10:test", root=str(tmp_path))
    assert (len(cifar10), cifar10.shape, cifar10.name) == (3, (3, 32, 32), "CIFAR10:test")
    assert torch.equal(served(cifar10), torch.from_numpy(written["test_batch"]).reshape(3, 3, 32, 32))


def test_the_fingerprint_is_of_what_is_made_of_the_images(tmp_path):
    """The same files in grey are other images; the same pixels in another file are the same."""
    folder = write_folder(tmp_path / "folder", pixels(channels=1))
    assert open_images(folder, 1).fingerprint != open_images(folder, 3).fingerprint
    one, same, other = (
        open_images(write_npz(tmp_path / f"{i}.npz", images))
        for i, images in enumerate((pixels(), pixels(), pixels(4)))
    )
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_folder_of_images_of_different_sizes_is_refused_by_the_name_of_the_odd_one(tmp_path, batch):
    """Also where every batch for itself is of one size."""
    folder = write_folder(tmp_path / "folder", [*pixels(4), *pixels(1, 9, 4)])
    with pytest.raises(ConfigError, match=r"of one size, but \S*/folder/0.png is 6x4 and \S*/folder/4.png 9x4; resize"):
        served(open_images(folder), batch)


def test_a_folder_without_images_or_with_a_broken_one_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="^images: no image in '.*/empty'; use a folder that contains files"):
        open_images(str(tmp_path / "empty"))
    folder = write_folder(tmp_path / "folder", pixels())
    for broken in ("0.png", "3.png"):
        content = (tmp_path / "folder" / broken).read_bytes()
        (tmp_path / "folder" / broken).write_bytes(content[:30])
        with pytest.raises(ConfigError, match=rf"\S*/folder/{broken}: cannot be read as an image .*; repair or"):
            served(open_images(folder))
        (tmp_path / "folder" / broken).write_bytes(content)


class Code:
    """Unpickled, this calls a function."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def bad_npz(name, folder):
    """Writes a file that is not an NPZ file of images."""
    path = folder / f"{name}.npz"
    images = pixels()
    arrays = {
        "floats": images / 255,
        "signed": images.astype(np.int8),
        "flat": images[0],
        "channels first": images.transpose(0, 3, 1, 2),
        "none": images[:0],
        "no pixels": images[:, :0],
    }
    if name in arrays:
        np.savez(path, arrays[name])
    elif name == "another name":
        np.savez(path, pictures=images)
    elif name == "objects":
        array = np.empty(1, dtype=object)
        array[0] = Code(folder / "executed")
        np.savez(path, array)
    elif name == "pickle":
        path.write_bytes(pickle.dumps(Code(folder / "executed")))
    elif name == "checksum":
        np.savez(path, images)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif name == "compressed":
        np.savez_compressed(path, np.zeros((5, 6, 4, 3), np.uint8))
        with zipfile.ZipFile(path) as archive:
            start = archive.infolist()[0].header_offset + 60
        content = bytearray(path.read_bytes())
        content[start : start + 8] = b"\xff" * 8
        path.write_bytes(content)
    elif name == "truncated":
        np.savez(path, images)
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes({"empty": b"", "text": b"hello"}[name])
    return path


BAD = ["another name", "objects", "pickle", "checksum", "compressed", "truncated", "empty", "text"]
BAD += ["floats", "signed", "flat", "channels first", "none", "no pixels"]


@pytest.mark.parametrize("name", BAD)
def test_an_npz_file_of_anything_else_is_refused_in_a_line_and_runs_no_code(tmp_path, name):
    path = bad_npz(name, tmp_path)
    with pytest.raises(ConfigError) as error:
        open_images(str(path))
    message = str(error.value)
    assert "\n" not in message
    if name == "channels first":
        assert message == f"{path}: expected images of 1 or 3 channels, got 4"
    elif name == "flat":
        assert message == f"{path}: expected images, got (6, 4, 3), which looks like one image; use array[None]"
    else:
        assert message.startswith(f"images: {path}: cannot be read as images (")
        assert message.endswith("; use an NPY or NPZ file of uint8 or uint16 of shape (N, H, W) or (N, H, W, C)")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("source", ["nowhere", "digits", "digits:validation", "svhn:test", "nowhere.npz", "digits:"])
def test_what_is_neither_file_nor_split_is_refused_with_what_there_is(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        open_images(source)
    assert str(error.value) == (
        f"images not found: {source}; use a folder, an .npz file, or a split, such as digits:train, mnist:train, "
        "fashion_mnist:train, cifar10:train"
    )
