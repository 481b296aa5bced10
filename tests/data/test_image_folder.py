import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.data import ImageFolder
from lit_diffusion.data.image_files import decode
from lit_diffusion.data.image_folder import list_images, set_aside
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_levels


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def lanczos(pixels, size):
    """Antialiased Lanczos-3 along both axes, written out: (side, side) floats to (size, size) floats."""
    scale = pixels.shape[0] / size
    support = max(scale, 1.0)
    centres = (np.arange(size)[:, None] + 0.5) * scale
    x = (np.arange(pixels.shape[0])[None] + 0.5 - centres) / support
    weights = np.where(abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ (pixels @ weights.T).clip(0, 255)  # Pillow keeps bytes between the axes


@pytest.fixture
def folder(tmp_path):
    """Nine images of one colour each: image i is (10 i, 100, 200)."""
    for i in range(9):
        path = tmp_path / f"{'ab'[i % 2]}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6 + i, 8), color=(10 * i, 100, 200)).save(path)
    return tmp_path


def reds(images):
    return sorted((images[:, 0, 0, 0] // 10).tolist())


@pytest.mark.parametrize(("height", "width", "size"), [(20, 32, 8), (33, 20, 7), (12, 12, 5), (5, 6, 12)])
def test_the_centre_square_is_resized_by_antialiased_lanczos(tmp_path, height, width, size):
    pixels = noise(height, width, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side].astype(float)
    expected = np.stack([lanczos(square[..., c], size) for c in range(3)])
    got = decode(str(tmp_path / "x.png"), size, 3).numpy()
    assert got.dtype == np.uint8
    assert abs(got - expected.clip(0, 255)).max() <= 1.5  # Pillow rounds once after each axis


def test_an_image_that_has_the_size_already_keeps_its_pixels(tmp_path):
    pixels = noise(6, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert torch.equal(decode(str(tmp_path / "x.png"), 6, 3), torch.from_numpy(pixels).permute(2, 0, 1))


def test_a_fine_pattern_is_averaged_not_sampled(tmp_path):
    stripes = np.tile(np.uint8([255, 0, 0, 0]), (64, 16))
    Image.fromarray(stripes).save(tmp_path / "x.png")
    assert (decode(str(tmp_path / "x.png"), 8, 1).float() - 255 / 4).abs().max() < 12


def test_grey_palette_and_transparent_images_become_rgb(tmp_path):
    grey = noise(4, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(np.dstack([grey, grey, grey, noise(4, 4)])).save(tmp_path / "alpha.png")
    for name in ("grey", "palette", "alpha"):
        got = decode(str(tmp_path / f"{name}.png"), 4, 3)
        assert torch.equal(got, torch.from_numpy(grey).expand(3, 4, 4)), name


def test_channels_1_takes_the_luma_of_colour_images(tmp_path):
    Image.new("RGB", (4, 4), color=(200, 100, 50)).save(tmp_path / "x.png")
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert decode(str(tmp_path / "x.png"), 4, 1).unique().tolist() == [luma]


def test_the_camera_s_orientation_is_applied(tmp_path):
    pixels, exif = noise(4, 4, 3), Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    upright = torch.from_numpy(pixels).permute(2, 0, 1).flip(-1, -2)
    assert torch.equal(decode(str(tmp_path / "x.png"), 4, 3), upright)


def test_only_images_are_listed_sorted_and_hidden_files_are_not(tmp_path):
    for name in ("b/2.JPG", "b/10.jpeg", "a.webp", "c.tif", ".hidden.png", ".cache/x.png", "notes.txt", "png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(str(tmp_path), "root") == ["a.webp", "b/10.jpeg", "b/2.JPG", "c.tif"]


def test_links_within_the_folder_count_once_and_links_out_of_it_are_refused(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    root.mkdir()
    outside.touch()
    (root / "x.png").touch()
    (root / "again.png").symlink_to(root / "x.png")
    assert list_images(str(root), "root") == ["x.png"]
    for target in (outside, root / "nowhere.png", tmp_path):
        link = root / "link.png"
        link.symlink_to(target)
        with pytest.raises(ConfigError, match="^root: .*link.png links to .*; replace it by a copy$"):
            list_images(str(root), "root")
        link.unlink()


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_every_image_of_a_tree_is_served_once(folder, cache_bytes):
    data = ImageFolder(str(folder), size=4, batch_size=9, num_test=2, num_workers=1, cache_bytes=cache_bytes)
    data.setup()
    assert data.sizes == {"train": 7, "test": 2} and data.image_shape == (3, 4, 4) and data.num_levels == 256
    served = torch.cat([x for split in ("train", "test") for x in data.eval_batches(split)])
    levels = to_levels(served, 256)
    assert reds(levels) == list(range(9)) and levels[:, 2].unique().tolist() == [200]


def test_training_from_files_equals_training_from_memory(folder):
    streamed, cached = (
        ImageFolder(str(folder), 4, 4, flip=True, seed=0, num_workers=2, cache_bytes=n) for n in (0, 2**30)
    )
    for data in (streamed, cached):
        data.setup()
    with pytest.raises(ConfigError, match="^cache_bytes: the 9 images"):
        streamed.images("train")
    assert cached.images("train").shape == (9, 3, 4, 4)
    loaders = [data.train_dataloader() for data in (streamed, cached)]
    batches = [torch.stack([x for _ in range(3) for x in loader]) for loader in loaders]
    assert torch.equal(*batches)


def test_the_memory_for_resized_images_decides_where_they_stay(folder):
    for spare, in_memory in ((0, True), (-1, False)):
        data = ImageFolder(str(folder), 4, 4, num_workers=0, cache_bytes=9 * 3 * 4 * 4 + spare)
        data.setup()
        assert hasattr(data.store("train"), "images") == in_memory


def test_the_split_depends_on_neither_the_seed_nor_images_that_come_later(folder):
    paths = [f"{i}.png" for i in range(1000)]
    train, test = set_aside(paths, 100)
    assert len(test) == 100 and sorted(train + test) == sorted(paths) and test == sorted(test)
    _, later = set_aside([*paths, "new.png"], 100)
    assert len(set(test) - set(later)) <= 1
    assert set(test) != set(paths[:100]) and set(test) != set(paths[-100:])
    sets = []
    for seed in (0, 1):
        data = ImageFolder(str(folder), 4, 4, num_test=3, seed=seed, num_workers=0)
        data.setup()
        sets.append(reds(data.images("test")))
    assert sets[0] == sets[1]


def test_test_root_is_the_test_split(folder):
    data = ImageFolder(str(folder / "a"), 4, 4, test_root=str(folder / "b"), num_workers=0)
    data.setup()
    assert reds(data.images("train")) == [0, 2, 4, 6, 8] and reds(data.images("test")) == [1, 3, 5, 7]


def test_a_folder_has_no_labels(folder):
    data = ImageFolder(str(folder), 4, 4, num_workers=0)
    data.setup()
    with pytest.raises(ConfigError, match="ImageFolder has no labels"):
        data.labels("train")


@pytest.mark.parametrize("argument", ["root", "test_root"])
def test_a_missing_or_empty_folder_is_named(folder, tmp_path_factory, argument):
    empty = tmp_path_factory.mktemp("empty")
    for wrong, message in ((empty / "nowhere", "is not a folder"), (empty, "no image in")):
        with pytest.raises(ConfigError, match=f"^{argument}: ") as error:
            ImageFolder(**{"root": str(folder), "size": 4, "batch_size": 1, argument: str(wrong)}).setup()
        assert message in str(error.value) and repr(str(wrong)) in str(error.value)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("content", ["empty", "truncated", "text"])
def test_a_broken_image_is_named_before_training_where_images_are_cached(folder, content, num_workers):
    whole = (folder / "a" / "4.png").read_bytes()
    (folder / "a" / "4.png").write_bytes({"empty": b"", "truncated": whole[:-30], "text": b"not an image"}[content])
    with pytest.raises(ConfigError, match=r"^root: \S*/a/4.png: cannot be read as an image") as error:
        ImageFolder(str(folder), 4, 4, num_workers=num_workers).setup("fit")
    assert "\n" not in str(error.value) and str(error.value).endswith("; repair or remove it")


def test_a_broken_image_found_by_a_worker_ends_the_run_with_its_name_alone(folder):
    (folder / "b" / "5.png").write_bytes(b"not an image")
    data = ImageFolder(str(folder), 4, 1, test_root=str(folder / "b"), num_workers=2, cache_bytes=0)
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        with pytest.raises(ConfigError, match=r"^\w+: \S*/b/5.png: cannot be read as an image [^\n]*$"):
            list(loader)
    with pytest.raises(ConfigError, match="^test_root: "):
        list(data.val_dataloader())


def test_a_decompression_bomb_is_refused_by_name(tmp_path, monkeypatch):
    Image.new("L", (20, 20)).save(tmp_path / "x.png")
    for limit in (300, 100):  # Pillow warns above its limit, and raises above twice of it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ConfigError, match=r"x.png: cannot be read as an image \(.*decompression bomb"):
            decode(str(tmp_path / "x.png"), 4, 1)


def test_16_bit_images_are_refused_not_saturated(tmp_path):
    Image.fromarray(noise(4, 4).astype(np.uint16) * 256).save(tmp_path / "x.png")
    with pytest.raises(ConfigError, match="more than 8 bits per channel"):
        decode(str(tmp_path / "x.png"), 4, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size: expected 1 or more, got 0"),
        ({"channels": 2}, "channels: expected 1 for grey or 3 for RGB, got 2"),
        ({"num_test": -1}, "num_test: expected 0 or more, got -1"),
        ({"num_workers": -1}, "num_workers: expected 0 or more, got -1"),
        ({"test_root": ".", "num_test": 3}, "test_root: .*only one of the two"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        ImageFolder(**{"root": ".", "size": 4, "batch_size": 1, **arguments})


def test_a_test_split_that_leaves_nothing_to_train_on_is_refused(folder):
    with pytest.raises(ConfigError, match="^num_test: expected less than 9, .*; got 9$"):
        ImageFolder(str(folder), 4, 1, num_test=9).setup()


def test_the_default_number_of_workers_draws_no_warning(folder):
    data = ImageFolder(str(folder), 4, 4)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*worker processes.*")
        data.setup()
    assert reds(data.images("train")) == list(range(9))
