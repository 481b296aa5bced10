import json
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.data import ImageFolder
from lit_diffusion.data.file_images import set_aside
from lit_diffusion.data.image_decoding import decode
from lit_diffusion.data.sources.folder_source import FolderSource
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_levels
from tests.conftest import CONFIGS


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
    train, test = (part.tolist() for part in set_aside(FolderSource("root", "", paths), 100))
    assert (
        len(test) == 100 and sorted(train + test) == [*range(1000)] and test == sorted(test) and train == sorted(train)
    )
    _, later = set_aside(FolderSource("root", "", [*paths, "new.png"]), 100)
    assert len(set(test) - set(later.tolist())) <= 1
    assert test != [*range(100)] and test != [*range(900, 1000)]
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


@pytest.mark.parametrize(("count", "shown"), [(12, range(12)), (24, range(12)), (5, (0, 2, 4, 7, 9)), (100, range(12))])
@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_images_to_show_are_spread_over_the_folders(tmp_path, count, shown, cache_bytes):
    """Of twelve classes in folders of their own, not only those of the first."""
    for i in range(12):
        (tmp_path / f"{i:02}").mkdir()
        for j in range(4):
            Image.new("RGB", (4, 4), (20 * i, 0, j)).save(tmp_path / f"{i:02}/{j}.png")
    data = ImageFolder(str(tmp_path), 4, 4, num_workers=0, cache_bytes=cache_bytes)
    data.setup()
    levels = to_levels(data.example_images(count), 256)
    assert len(levels) == min(count, 48)
    assert sorted(set((levels[:, 0, 0, 0] // 20).tolist())) == list(shown)
    assert len(levels[:, :, 0, 0].unique(dim=0)) == len(levels)


def test_a_folder_has_no_labels(folder):
    for root, advice in (
        (folder / "a", "use a data set with classes"),
        (folder, "use ImageClassFolder if the folders"),
    ):
        data = ImageFolder(str(root), 4, 4, num_workers=0)
        data.setup()
        with pytest.raises(ConfigError, match=f"ImageFolder has no labels; {advice}"):
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


def deep_png(colour, channels):
    """A PNG file of 16 bits per channel."""
    rows = b"".join(b"\0" + noise(4 * channels).astype(">u2").tobytes() for _ in range(4))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = [struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep_tiff():
    """A TIFF file of three channels of 16 bits."""
    pixels = noise(4, 4, 3).astype("<u2").tobytes()
    tags = {
        256: (4, 1, 4),
        257: (4, 1, 4),
        258: (3, 3, 8),
        259: (3, 1, 1),
        262: (3, 1, 2),
        273: (4, 1, 14),
        277: (3, 1, 3),
    }
    tags |= {278: (4, 1, 4), 279: (4, 1, len(pixels))}
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items()))
    head = struct.pack("<2sHIHHH", b"II", 42, 14 + len(pixels), 16, 16, 16)
    return head + pixels + struct.pack("<H", len(tags)) + entries + b"\0" * 4


DEEP = {
    "grey.png": deep_png(0, 1),
    "colour.png": deep_png(2, 3),
    "grey and alpha.png": deep_png(4, 2),
    "colour and alpha.png": deep_png(6, 4),
    "colour.tif": deep_tiff(),
    "grey.pgm": b"P5 4 4 65535\n" + bytes(32),
    "colour.ppm": b"P6 4 4 65535\n" + bytes(96),
    "colour in ten bits.ppm": b"P6 4 4 1023\n" + bytes(96),
    "plain.ppm": b"P3 1 1 1023\n 1 2 3\n",
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_16_bits_are_refused_whatever_their_channels(tmp_path, name, channels):
    """Pillow saturates grey ones, and drops the low byte of the others."""
    (tmp_path / name).write_bytes(DEEP[name])
    with Image.open(tmp_path / name) as image:
        image.load()  # the file itself is whole
    colours = name.startswith(("colour", "plain")) and not name.endswith(".png")
    expected = (
        "a PNG file for colours of more than 8 bits" if colours else "8 bits per channel, got more; set num_levels"
    )
    with pytest.raises(ConfigError, match=f"expected {expected}"):
        decode(str(tmp_path / name), 4, channels)


EIGHT_BITS = (
    "png L, png LA, png RGBA, png P, png 1, tif RGB, tif CMYK, bmp RGB, ppm RGB, pgm L, pbm 1, jpg RGB, webp RGB"
)


@pytest.mark.parametrize("kind", EIGHT_BITS.split(", "))
def test_images_of_8_bits_and_less_are_read_from_every_format(tmp_path, kind):
    suffix, mode = kind.split()
    Image.new(mode, (4, 4)).save(tmp_path / f"x.{suffix}")
    assert decode(str(tmp_path / f"x.{suffix}"), 4, 3).shape == (3, 4, 4)


def test_bmp_files_of_5_and_6_bits_are_read(tmp_path):
    """Pillow's name of their pixels, BGR;16, is that of 16 bits for all channels together."""
    header = struct.pack("<2sIII", b"BM", 66 + 32, 0, 66) + struct.pack(
        "<IiiHHIIiiII", 40, 4, 4, 1, 16, 3, 32, 0, 0, 0, 0
    )
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    (tmp_path / "x.bmp").write_bytes(header + masks + struct.pack("<16H", *[0xF800] * 16))
    assert decode(str(tmp_path / "x.bmp"), 4, 3)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("name", ["x.tif", "x.webp", "x.png"])
def test_a_file_of_several_images_is_refused_not_cut_to_the_first(tmp_path, name):
    images = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
    with pytest.raises(ConfigError, match="3 images in one file: save each in a file of its own"):
        decode(str(tmp_path / name), 4, 3)


def test_a_photograph_with_a_preview_is_one_image(tmp_path):
    """As phones write them: an MPO file, whose other images belong to the first."""
    Image.new("RGB", (4, 4), "red").save(
        tmp_path / "x.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (2, 2))]
    )
    assert decode(str(tmp_path / "x.jpg"), 4, 3).shape == (3, 4, 4)


def test_what_a_folder_leaves_out_is_said_once(folder, capsys):
    for name in ("anim.gif", "a/other.gif", "a/photo.HEIC", "notes", ".DS_Store"):
        (folder / name).touch()
    data = ImageFolder(str(folder / "a"), 4, 4, test_root=str(folder), num_workers=0)
    data.setup("fit")
    data.setup("test")
    assert data.sizes == {"train": 5, "test": 9}
    assert capsys.readouterr().err.splitlines() == [
        "data.root: images: 5; files left out because they are not named as images: 2 (1 .gif, 1 .heic)",
        "data.test_root: images: 9; files left out because they are not named as images: 4 "
        "(2 .gif, 1 without a suffix, 1 .heic)",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size: expected 1 or more, got 0"),
        ({"channels": 5}, "channels: expected 1 for grey or 3 for RGB, 2 or 4 with alpha; got 5"),
        ({"size": [4]}, r"size: expected a side or \[height, width\], got \[4\]"),
        ({"size": [4, 0]}, "size: expected 1 or more, got 0"),
        ({"num_levels": 17}, "num_levels: expected 256 for 8 bits or 65536 for 16, got 17"),
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


def test_photos_yaml_trains_on_a_folder_of_photographs_as_it_lies(command, folder, tmp_path):
    """The file alone and the folder: nothing is downloaded, nothing needs Inception."""
    for i in range(40):
        Image.fromarray(noise(30 + i, 50, 3)).save(folder / f"b/{i}.jpg")
    small = ["--data.size=16", "--model.reverse.network.width=32", "--model.reverse.network.multipliers=[1,1,1]"]
    steps = ["--trainer.max_steps=1", "--grids.num_images=2", "--model.reverse.process.schedule.num_steps=4"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.logger=false"]
    command("fit", "-c", f"{CONFIGS}/photos.yaml", f"--data.root={folder}", *small, *steps, *quiet, "--run.name=x")
    summary = json.loads((tmp_path / "runs/x/summary.json").read_text())
    assert summary["status"] == "finished" and list(summary["scores"])[0] == "bits_per_dim/test"
    assert (tmp_path / "runs/x/samples/00000001_samples.png").is_file()
