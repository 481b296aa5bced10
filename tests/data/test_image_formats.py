"""The same images in every format: the same batches bit for bit, whoever reads them, and the same labels."""

import ast
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lit_diffusion
from benchmarks import format_files
from lit_diffusion.callbacks.predict.sample_files import form_of, write
from lit_diffusion.data import (
    ImageArray,
    ImageArrow,
    ImageClassFolder,
    ImageFolder,
    ImageHub,
    ImageLMDB,
    ImageParquet,
    ImageWebDataset,
    ImageZip,
)
from lit_diffusion.data.batch_plans import TrainPlan
from lit_diffusion.data.image_set import open_images
from lit_diffusion.data.loader import TrainBatches
from lit_diffusion.errors import ConfigError
from tests.conftest import once

CPU = torch.device("cpu")
COUNT = 31
NAMES = format_files.CLASS_NAMES
FORMATS = {
    "classes": (ImageClassFolder, "folder"),
    "zip": (ImageZip, "x.zip"),
    "lmdb": (ImageLMDB, "lmdb"),
    "parquet": (ImageParquet, "parquet"),
    "arrow": (ImageArrow, "arrow"),
    "webdataset": (ImageWebDataset, "tar"),
    "npy": (ImageArray, "x.npy"),
}


def make(path):
    """31 random images of 12x10 pixels in folders of three classes, and the same in every format."""
    folder = path / "folder"
    random = np.random.default_rng(0)
    for i in range(COUNT):
        (folder / NAMES[i % 3]).mkdir(exist_ok=True, parents=True)
        Image.fromarray(random.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(
            folder / NAMES[i % 3] / f"{i:02}.png"
        )
    labels = [NAMES.index(name.partition("/")[0]) for name, _ in format_files.records(folder)]
    format_files.write_zip(folder, path / "x.zip", labels)
    format_files.write_lmdb(folder, path / "lmdb")
    format_files.write_parquet(folder, path / "parquet", labels, group=3)
    format_files.write_arrow(folder, path / "arrow", labels)
    format_files.write_tar(folder, path / "tar", labels)
    format_files.write_npy(folder, path / "x.npy")


@pytest.fixture
def files(tmp_path_factory):
    return once(tmp_path_factory, "formats", make)


def opened(kind, root, **options):
    settings = {"size": [8, 6], "batch_size": 4, "flip": True, "seed": 0, "num_workers": 0, "cache_bytes": 0}
    data = kind(str(root), **{**settings, **options})
    data.setup()
    return data


def stream(data, epochs=2):
    loader = data.train_dataloader()
    return torch.stack([x for _ in range(epochs) for x in loader])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_serves_the_batches_of_the_folder(files, name):
    """From workers and without, from memory, and after a resume."""
    kind, path = FORMATS[name]
    expected = stream(opened(ImageFolder, files / "folder"))
    assert expected.shape == (14, 4, 3, 8, 6)
    data = opened(kind, files / path)
    assert torch.equal(stream(data), expected)
    assert torch.equal(stream(opened(kind, files / path, num_workers=2)), expected)
    assert torch.equal(stream(opened(kind, files / path, cache_bytes=2**20)), expected)
    resumed = data.train_dataloader()
    resumed.load_state_dict({"batches": 3})
    assert torch.equal(torch.stack([x for _ in range(2) for x in resumed]), expected[3:])


@pytest.mark.parametrize("name", FORMATS)
def test_two_ranks_share_the_batches_of_one(files, name):
    kind, path = FORMATS[name]
    store = opened(kind, files / path).store("train")
    one = TrainBatches(store, TrainPlan(COUNT, 4, 0), 256, CPU, flip=True)
    ranks = [TrainBatches(store, TrainPlan(COUNT, 4, 0, rank, 2), 256, CPU, flip=True) for rank in (0, 1)]
    assert all(torch.equal(x, torch.cat(parts)) for x, *parts in zip(one, *ranks, strict=True))


@pytest.mark.parametrize("name", ["zip", "lmdb", "parquet", "arrow"])
def test_what_is_set_aside_is_that_of_the_folder(files, name):
    """Records are chosen by their names, which these formats keep."""
    kind, path = FORMATS[name]
    folder, data = (opened(*one, num_test=7) for one in ((ImageFolder, files / "folder"), (kind, files / path)))
    assert data.sizes == {"train": 24, "test": 7}
    assert torch.equal(torch.cat([*data.val_dataloader()]), torch.cat([*folder.val_dataloader()]))


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
@pytest.mark.parametrize("name", ["classes", "zip", "parquet", "arrow", "webdataset"])
def test_labels_are_those_of_the_folders_names(files, name, cache_bytes):
    kind, path = FORMATS[name]
    data = opened(kind, files / path, num_test=7, cache_bytes=cache_bytes)
    assert data.labels("train").dtype == torch.int64
    assert data.class_names == (() if name in ("zip", "webdataset") else NAMES)
    whole = opened(kind, files / path)
    assert whole.labels("train").tolist() == [0] * 11 + [1] * 10 + [2] * 10
    assert sorted(data.labels("train").tolist() + data.labels("test").tolist()) == whole.labels("train").tolist()
    if name == "classes" and cache_bytes == 0:
        store = data.store("test")
        folders = [Path(store.source.where(int(i))).parent.name for i in store.indices]
        assert [NAMES.index(one) for one in folders] == data.labels("test").tolist()


@pytest.mark.parametrize("name", ["lmdb", "npy"])
def test_formats_without_labels_say_so(files, name):
    kind, path = FORMATS[name]
    with pytest.raises(ConfigError, match=f"{kind.__name__} has no labels"):
        opened(kind, files / path).labels("train")


def test_a_format_is_imported_when_it_is_used():
    """No file of the package imports lmdb, pyarrow or datasets when it is itself imported."""
    for path in Path(lit_diffusion.__file__).parent.rglob("*.py"):
        names = {name.partition(".")[0] for node in ast.parse(path.read_text()).body for name in imported(node)}
        assert not names & {"lmdb", "pyarrow", "datasets"}, path


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.parametrize(("name", "package", "extra"), [("lmdb", "lmdb", "formats"), ("parquet", "pyarrow", "formats")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(files, monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    kind, path = FORMATS[name]
    with pytest.raises(ConfigError, match=rf"^root: .* needs the package {package}, .*'lit_diffusion\[{extra}\]'$"):
        opened(kind, files / path)


def test_a_record_that_changes_changes_the_fingerprint(files, tmp_path):
    for name in ("zip", "parquet", "npy"):
        kind, path = FORMATS[name]
        one = opened(kind, files / path).store("train")
        assert one.fingerprint() == opened(kind, files / path).store("train").fingerprint()
        assert one.fingerprint() != opened(kind, files / path, size=8).store("train").fingerprint()
        assert one.fingerprint() != opened(kind, files / path, num_test=3).store("train").fingerprint()


def test_the_datasets_package_writes_what_is_read(files, tmp_path, monkeypatch):
    """A folder by load_dataset, and the Arrow files of save_to_disk."""
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    expected = stream(opened(ImageFolder, files / "folder"))
    hub = opened(ImageHub, files / "folder", test_root=f"{files / 'folder'}:train")
    assert torch.equal(stream(hub), expected) and hub.class_names == NAMES and hub.sizes["test"] == COUNT
    datasets.load_dataset(str(files / "folder"), split="train").save_to_disk(tmp_path / "saved", num_shards=2)
    saved = opened(ImageArrow, tmp_path / "saved")
    assert torch.equal(stream(saved), expected) and torch.equal(saved.labels("train"), hub.labels("train"))
    rows = datasets.load_from_disk(tmp_path / "saved")
    rows.map(lambda row: {"label": 2 - row["label"]})  # files of other rows, and of orders of rows, next to these
    rows.filter(lambda row: row["label"] == 0)
    assert len([*(tmp_path / "saved").glob("cache-*.arrow")]) == 2
    again = opened(ImageArrow, tmp_path / "saved")
    assert torch.equal(stream(again), expected) and torch.equal(again.labels("train"), hub.labels("train"))
    assert len(open_images(str(tmp_path / "saved"))) == COUNT
    whole = datasets.DatasetDict({"train": rows, "test": rows.shuffle(seed=0).select(range(5))})
    whole.save_to_disk(tmp_path / "splits")
    for read in (lambda root: opened(ImageArrow, root), lambda root: open_images(str(root))):
        with pytest.raises(ConfigError, match=f"has train, test; choose one, such as {tmp_path}/splits/train$"):
            read(tmp_path / "splits")
    test = opened(ImageArrow, tmp_path / "splits/test", batch_size=1)
    assert test.labels("train").tolist() == whole["test"]["label"][:]
    with pytest.raises(ConfigError, match='^root: cannot load the split test of .*Unknown split "test"'):
        opened(ImageHub, f"{files / 'folder'}:test")


def test_labels_of_a_table_may_be_names_and_its_columns_have_other_names(files, tmp_path):
    import pyarrow
    import pyarrow.parquet as parquet

    rows = [content for _, content in format_files.records(files / "folder")]
    table = pyarrow.table({"picture": rows, "kind": [NAMES[::-1][i % 3] for i in range(COUNT)], "n": [*range(COUNT)]})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=5)
    data = opened(ImageParquet, tmp_path / "x.parquet", label_column="kind")
    assert torch.equal(stream(data), stream(opened(ImageFolder, files / "folder")))
    assert data.class_names == NAMES and data.labels("train").tolist() == [2 - i % 3 for i in range(COUNT)]


def test_labels_of_a_table_may_be_a_categorical_of_pandas(files, tmp_path):
    import pyarrow
    import pyarrow.parquet as parquet

    rows = [content for _, content in format_files.records(files / "folder")]
    kinds = pyarrow.array([NAMES[::-1][i % 3] for i in range(COUNT)]).dictionary_encode()
    parquet.write_table(pyarrow.table({"image": rows, "label": kinds}), tmp_path / "x.parquet", row_group_size=7)
    data = opened(ImageParquet, tmp_path / "x.parquet", label_column="label")
    assert data.class_names == NAMES and data.labels("train").tolist() == [2 - i % 3 for i in range(COUNT)]
    with pytest.raises(ConfigError, match="has no labels; set data.label_column if a column has the classes: label$"):
        opened(ImageParquet, tmp_path / "x.parquet").labels("train")


def test_labels_that_are_all_unknown_are_none(files, tmp_path):
    """As in the test splits of the hub whose classes are kept secret."""
    format_files.write_parquet(files / "folder", tmp_path / "x", [-1] * COUNT)
    with pytest.raises(ConfigError, match="has no labels"):
        opened(ImageParquet, tmp_path / "x").labels("train")


def test_an_array_keeps_its_levels_and_takes_labels_from_its_archive(tmp_path):
    levels = np.random.default_rng(0).integers(0, 5, (6, 4, 3), dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images=levels, labels=np.arange(6) % 2)
    data = opened(ImageArray, tmp_path / "x.npz", size=[4, 3], channels=1, num_levels=5, flip=False)
    served = torch.cat([*data.eval_batches("train")])
    assert torch.equal(served[:, 0], torch.from_numpy(levels).float() / 2 - 1)
    assert data.labels("train").tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(ConfigError, match=r"x.npz: image 0: expected levels 0 to 3, got 4; set num_levels$"):
        torch.cat([*opened(ImageArray, tmp_path / "x.npz", size=4, channels=1, num_levels=4).eval_batches("train")])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_16_bits_keep_every_level(tmp_path, channels):
    """In arrays and, as PNG files, in folders; in memory and from workers; up to the floats that a model gets."""
    levels = np.random.default_rng(0).integers(0, 65536, (5, 6, 4, channels), dtype=np.uint16)
    levels[0, 0, 0], levels[0, 0, 1] = 0, 65535
    np.save(tmp_path / "x.npy", levels.astype(">u2" if channels == 2 else "<u2"))
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(levels):
        (tmp_path / f"folder/{i}.png").write_bytes(deep_png(image))
    expected = torch.from_numpy(levels.astype(np.float32)).permute(0, 3, 1, 2) / 32767.5 - 1
    for kind, name in ((ImageArray, "x.npy"), (ImageFolder, "folder")):
        for cache in (0, 2**20):
            deep = {"size": [6, 4], "channels": channels, "num_levels": 65536, "cache_bytes": cache}
            served = torch.cat([*opened(kind, tmp_path / name, **deep).eval_batches("train")])
            assert torch.equal(served, expected) and served.min() == -1 and served.max() == 1


def test_samples_of_16_bits_keep_them(tmp_path):
    """As `predict` writes them, so that they can be read again."""
    levels = np.random.default_rng(0).integers(0, 65536, (4, 6, 5, 1), dtype=np.uint16)
    np.save(tmp_path / "x.npy", levels)
    deep = {"size": [6, 5], "channels": 1, "num_levels": 65536}
    data = opened(ImageArray, tmp_path / "x.npy", **deep)
    form = form_of(data)
    blocks = [form.convert(x) for x in data.eval_batches("train")]
    write(tmp_path, blocks, 4, form, {})
    assert np.array_equal(np.load(tmp_path / "samples.npz")["arr_0"], levels)
    again = opened(ImageArray, tmp_path / "samples.npz", **deep)
    assert torch.equal(next(iter(again.eval_batches("train"))), next(iter(data.eval_batches("train"))))
    with Image.open(tmp_path / "samples/000000.png") as picture:
        assert abs(np.array(picture) * 257.0 - levels[0, ..., 0]).max() <= 129


def deep_png(levels):
    """A PNG file of 16 bits per channel, as torchvision's encoder does not write it."""
    import struct
    import zlib

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_images_of_16_bits_are_resized_as_those_of_8_are(tmp_path):
    """Up to the rounding of those after each axis; grey becomes RGB and back."""
    eight = np.random.default_rng(0).integers(80, 176, (1, 20, 14, 3), dtype=np.uint8)
    np.save(tmp_path / "8.npy", eight)
    np.save(tmp_path / "16.npy", eight.astype(np.uint16) * 257)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/x.png").write_bytes(deep_png(eight[0].astype(np.uint16) * 257))
    options = {"size": [6, 9], "flip": False, "batch_size": 1}
    (low,) = opened(ImageArray, tmp_path / "8.npy", **options).eval_batches("train")
    for kind, name in ((ImageArray, "16.npy"), (ImageFolder, "folder")):
        (high,) = opened(kind, tmp_path / name, num_levels=65536, **options).eval_batches("train")
        assert (high - low).abs().max() <= 1.5 / 127.5
    (grey,) = opened(ImageFolder, tmp_path / "folder", num_levels=65536, channels=1, **options).eval_batches("train")
    luma = (high * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    assert (grey[:, 0] - luma).abs().max() < 0.01


@pytest.mark.parametrize("num_levels", [256, 65536])
def test_files_of_the_other_number_of_bits_are_refused(tmp_path, num_levels):
    levels = np.zeros((4, 4, 1), np.uint16)
    (tmp_path / "x.png").write_bytes(deep_png(levels))
    if num_levels == 65536:
        Image.new("L", (4, 4)).save(tmp_path / "x.png")
    data = opened(ImageFolder, tmp_path, size=4, num_levels=num_levels)
    with pytest.raises(
        ConfigError, match="got more; set num_levels: 65536" if num_levels == 256 else "got 8; set num_levels: 256"
    ):
        next(iter(data.eval_batches("train")))


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(20, 32, 8, 4), (33, 20, 7, 14), (9, 16, 9, 16)])
def test_the_largest_centred_part_of_the_shape_is_resized(tmp_path, rows, columns, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    scale = min(rows / height, columns / width)
    high, wide = int(height * scale), int(width * scale)
    top, left = (rows - high) // 2, (columns - wide) // 2
    part = Image.fromarray(pixels[top : top + high, left : left + wide])
    expected = np.array(part.resize((width, height), Image.Resampling.LANCZOS))
    (x,) = opened(ImageFolder, tmp_path, size=[height, width], batch_size=1).eval_batches("train")
    assert torch.equal(((x[0] + 1) * 127.5).round().byte(), torch.from_numpy(expected).permute(2, 0, 1))


def test_alpha_is_kept_where_there_is_a_channel_for_it(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    for channels in (3, 4):
        (x,) = opened(ImageFolder, tmp_path, size=4, batch_size=1, channels=channels).eval_batches("train")
        assert torch.equal(
            ((x[0] + 1) * 127.5).round().byte(), torch.from_numpy(pixels[..., :channels]).permute(2, 0, 1)
        )


@pytest.mark.parametrize("name", ["x.zip", "lmdb", "parquet", "arrow", "tar", "tar/000000.tar"])
def test_images_to_be_scored_come_from_the_same_files(files, name):
    images, folder = open_images(str(files / name)), open_images(str(files / "folder"))
    indices = [torch.arange(len(images))]
    assert torch.equal(next(images.batches(indices, CPU)), next(folder.batches(indices, CPU)))
    assert images.shape == (3, 12, 10) and len(images) == (16 if name.endswith("0.tar") else COUNT)


def test_a_folder_of_images_is_that_whatever_else_lies_there(files, tmp_path):
    """An archive next to the images is left out and counted, as ever; an archive with arr_0 is an NPZ file."""
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    (tmp_path / "x.tar").write_bytes(b"")
    images = open_images(str(tmp_path))
    assert len(images) == 1 and images.note.endswith("1 (1 .tar)")
    np.savez(tmp_path / "y.npz", np.zeros((3, 4, 4, 3), np.uint8))
    assert len(open_images(str((tmp_path / "y.npz").rename(tmp_path / "y.zip")))) == 3


def test_hidden_files_of_a_shard_are_passed_over(files, tmp_path):
    content = (files / "folder/cat/00.png").read_bytes()
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("./._a.png", "./a.png", "./.b/c.png"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert opened(ImageWebDataset, tmp_path, batch_size=1).sizes["train"] == 1


def test_hidden_files_of_an_archive_are_passed_over_and_others_counted(files, tmp_path, capsys):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("b/1.png", "a.png", "__MACOSX/._a.png", ".hidden/x.png", "readme.txt"):
            archive.writestr(name, (files / "folder/cat/00.png").read_bytes())
    data = opened(ImageZip, tmp_path / "x.zip", batch_size=1)
    assert [data.store("train").source.name(i) for i in range(2)] == ["a.png", "b/1.png"] and data.sizes["train"] == 2
    assert capsys.readouterr().err == (
        "data.root: images: 2; files left out because they are not named as images: 1 (1 .txt)\n"
    )
    assert len(next(iter(data.eval_batches("train")))) == 1
