"""Archives, tables and arrays that are damaged, lie, or are something else: one line each, and nothing is half-read."""

import gzip
import io
import json
import shutil
import struct
import tarfile
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from benchmarks import format_files
from lit_diffusion.data import (
    ImageArray,
    ImageArrow,
    ImageClassFolder,
    ImageFolder,
    ImageLMDB,
    ImageParquet,
    ImageWebDataset,
    ImageZip,
)
from lit_diffusion.data.image_set import open_images
from lit_diffusion.errors import ConfigError


def png(shade=0):
    file = io.BytesIO()
    Image.new("RGB", (6, 6), (shade, 50, 100)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Six images in folders of two classes."""
    for i in range(6):
        path = tmp_path / "folder" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(png(i))
    return tmp_path / "folder"


def refused(kind, root, **options):
    """The one line with which reading every image of root ends."""
    with pytest.raises(ConfigError) as error:
        data = kind(str(root), **{"size": 4, "batch_size": 1, "num_workers": 0, "cache_bytes": 0, **options})
        data.setup("fit")
        list(data.eval_batches("train"))
    message = str(error.value)
    assert message.startswith(("root: ", "test_root: ")) and "\n" not in message and len(message) < 400
    return message


def zipped(path, *members, labels=None, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
        if labels is not None:
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.95])
def test_a_truncated_zip_archive_is_refused_when_it_is_listed(folder, tmp_path, kept):
    content = format_files.write_zip(folder, tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    assert "x.zip: cannot be read as a ZIP archive (" in refused(ImageZip, tmp_path / "x.zip")


@pytest.mark.parametrize("size", [5, len(png()) - 1, len(png()) + 1, 2**31])
def test_a_zip_archive_that_lies_about_a_size_is_refused(tmp_path, size):
    path = zipped(tmp_path / "x.zip", ("a.png", png()), method=zipfile.ZIP_DEFLATED)
    content, true = path.read_bytes(), struct.pack("<I", len(png()))
    assert content.count(true) == 2  # before the image and in the directory
    path.write_bytes(content.replace(true, struct.pack("<I", size)))
    said = refused(ImageZip, path)
    assert f"the archive says {size} bytes" in said or "a.png has more than 1,073,741,824 bytes" in said


def test_a_bomb_in_a_zip_archive_is_not_expanded_beyond_what_it_says(tmp_path):
    path = zipped(tmp_path / "x.zip", ("a.png", bytes(2**22)), method=zipfile.ZIP_DEFLATED)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 2**22), struct.pack("<I", 1000)))
    assert "the archive says 1,000 bytes, but there are more" in refused(ImageZip, path)


@pytest.mark.parametrize("name", ["../a.png", "b/../../a.png", "/a.png", "..\\a.png"])
def test_a_zip_archive_that_leaves_its_folder_is_refused(tmp_path, name):
    path = zipped(tmp_path / "x.zip", (name.replace("\\", "_"), png()), ("b.png", png()))
    path.write_bytes(path.read_bytes().replace(name.replace("\\", "_").encode(), name.encode()))
    assert "leads out of the folder" in refused(ImageZip, path)


def test_an_image_whose_checksum_is_wrong_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", ("a.png", png()))
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    assert "x.zip/a.png: cannot be read as an image (its checksum is wrong)" in refused(ImageZip, path)


LABELS = {
    "too few": ([["a.png", 1]], "images without one: 1, such as b.png"),
    "too many": ([["a.png", 1], ["b.png", 0], ["c.png", 0]], "not there: 1, such as c.png"),
    "vectors": ([["a.png", [0, 1]], ["b.png", [1, 0]]], "expected whole numbers as labels, got [0, 1]"),
    "negative": ([["a.png", -1], ["b.png", 0]], "expected whole numbers as labels, got -1"),
    "names": ([["a.png", "cat"], ["b.png", "dog"]], "expected whole numbers as labels, got cat"),
    "two for one": ([["a.png", 1], ["b.png", 0], ["a.png", 2]], "a.png has the classes 1 and 2"),
    "no pairs": (5, ""),
}


@pytest.mark.parametrize(("labels", "said"), LABELS.values(), ids=LABELS)
def test_labels_that_do_not_fit_an_archive_are_refused(tmp_path, labels, said):
    path = zipped(tmp_path / "x.zip", ("a.png", png()), ("b.png", png()), labels=labels)
    message = refused(ImageZip, path)
    assert "x.zip/dataset.json: cannot be read as labels (" in message and said in message


def write_lmdb(path, **items):
    import lmdb

    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for key, value in items.items():
            transaction.put(key.encode(), value)
    return path


@pytest.mark.parametrize("size", [0, 5000, 9000])
def test_a_truncated_lmdb_is_refused_and_ends_no_process(folder, tmp_path, size):
    """Pages beyond the end of a mapped file would."""
    file = format_files.write_lmdb(folder, tmp_path / "lmdb") / "data.mdb"
    file.write_bytes(file.read_bytes()[:size])
    assert "cannot be read as an LMDB of images (" in refused(ImageLMDB, tmp_path / "lmdb")


def damaged_lmdbs(path, rounds):
    """Reads an LMDB with other bytes at random places in its pages of keys; which messages came."""
    content, random, said = (path / "data.mdb").read_bytes(), np.random.default_rng(0), []
    of_keys = [start for start in range(8192, len(content), 4096) if content[start + 10] in (1, 2)]  # by their flags
    for _ in range(rounds):
        damaged, start = bytearray(content), int(random.choice(of_keys)) + int(random.integers(64))
        damaged[start : start + 32] = random.bytes(32)
        (path / "data.mdb").unlink()  # a file that changes while it is mapped would be another fault
        (path / "data.mdb").write_bytes(damaged)
        with suppress(ConfigError):
            data = ImageLMDB(str(path), 4, 1, num_workers=0, cache_bytes=0)
            try:
                data.setup()
            except ConfigError as error:
                said.append(str(error))
            else:
                list(data.eval_batches("train"))
    return said


@pytest.mark.parametrize("padding", [0, 3000])
def test_a_damaged_page_of_an_lmdb_ends_no_process(tmp_path, padding):
    """Of keys, or of keys and images: the library would follow it out of the file."""
    import multiprocessing

    path = write_lmdb(tmp_path / "lmdb", **{f"{i:04}": png(i) + bytes(padding) for i in range(70)})
    with multiprocessing.get_context("fork").Pool(1) as pool:
        said = pool.apply_async(damaged_lmdbs, (path, 30)).get(60)
    assert any(": cannot be read as an LMDB of images (page " in one for one in said)
    assert all("\n" not in one for one in said)


def test_an_lmdb_of_another_layout_is_refused_with_the_key(tmp_path):
    images = {f"{i:04}": png(i) for i in range(20)}
    path = write_lmdb(tmp_path / "lmdb", **images, length=b"20")
    assert "that of 'length' begins with b'20'" in refused(ImageLMDB, path)
    shutil.rmtree(path)
    assert "that of '0' begins with b'\\x80\\x04'" in refused(ImageLMDB, write_lmdb(path, **{"0": b"\x80\x04"}))
    shutil.rmtree(path)
    assert "use an LMDB that is not empty" in refused(ImageLMDB, write_lmdb(path))
    assert "there is no " in refused(ImageLMDB, tmp_path)


def test_an_lmdb_that_is_locked_is_read_until_it_changes(tmp_path):
    """Its last complete version is served while another process is writing; a new one is refused, not mixed in."""
    import multiprocessing

    path = write_lmdb(tmp_path / "lmdb", a=png(1), b=png(2))
    context = multiprocessing.get_context("fork")
    ready, go = context.Event(), context.Event()

    def write():
        import lmdb

        environment = lmdb.open(str(path), map_size=2**24)
        with environment.begin(write=True) as transaction:
            transaction.put(b"c", png(3))
            ready.set()
            go.wait(60)
        environment.close()

    process = context.Process(target=write)
    process.start()
    assert ready.wait(60)
    data = ImageLMDB(str(path), 4, 1, num_workers=0, cache_bytes=0)
    data.setup()
    assert len(list(data.eval_batches("train"))) == 2
    go.set()
    process.join()
    with pytest.raises(ConfigError, match="^root: .*lmdb: another process is writing to this LMDB; let it finish"):
        list(data.eval_batches("train"))


def write_table(path, **columns):
    import pyarrow
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


TABLES = {
    "no image": ({"id": [1], "text": ["a"]}, {}, "found columns id (int64), text (string); an image column holds"),
    "two images": ({"a": [png()], "b": [png()]}, {}, "found columns a (binary), b (binary); set image_column"),
    "another name": ({"a": [png()]}, {"image_column": "x"}, "expected images in column x, found columns a (binary)"),
    "no such label": ({"a": [png()]}, {"label_column": "x"}, "expected labels in column x, found columns a (binary)"),
    "label of floats": ({"a": [png()], "y": [0.5]}, {"label_column": "y"}, "whole numbers or text as labels, but"),
    "missing label": ({"a": [png()] * 2, "label": [1, None]}, {}, "a label in every row of column label, but row 1"),
    "negative label": (
        {"a": [png()] * 2, "label": [1, -1]},
        {},
        "labels 0 to 2147483647 in column label, but row 1 has -1",
    ),
    "label beyond int64": (
        {"a": [png()] * 2, "label": np.array([1, 2**64 - 1], dtype=np.uint64)},
        {},
        "labels 0 to 2147483647 in column label, but row 1 has 18446744073709551615",
    ),
    "order of rows": ({"indices": np.arange(3, dtype=np.uint64)}, {}, "call flatten_indices() of the data set, then"),
    "missing image": ({"a": [png(), None]}, {}, "x.parquet: row 1: cannot be read as an image (the row holds no bytes"),
    "no image file": ({"a": [png(), b"?"]}, {}, "x.parquet: row 1: cannot be read as an image (cannot identify"),
    "no rows": ({"a": np.array([], dtype="S1")}, {}, ""),
}


@pytest.mark.parametrize(("columns", "options", "said"), TABLES.values(), ids=TABLES)
def test_a_table_without_the_images_and_labels_that_it_needs_is_refused(tmp_path, columns, options, said):
    assert said in refused(ImageParquet, write_table(tmp_path / "x.parquet", **columns), **options)


def test_a_table_of_paths_never_makes_a_file_be_read(folder, tmp_path):
    import pyarrow
    import pyarrow.parquet as parquet

    rows = [{"bytes": None, "path": str(folder / "a/0.png")}]
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    parquet.write_table(pyarrow.table({"image": pyarrow.array(rows, kind)}), tmp_path / "x.parquet")
    assert "expected the bytes of images in column image, found none" in refused(ImageParquet, tmp_path / "x.parquet")


def test_labels_beyond_the_names_of_classes_are_refused(folder, tmp_path):
    format_files.write_parquet(folder, tmp_path / "x", [0, 1, 2, 3, 0, 0])
    assert "expected labels 0 to 2 in column label, but row 3 has 3" in refused(ImageParquet, tmp_path / "x")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_truncated_or_missing_shard_is_named(folder, tmp_path, kind):
    cls, write = {
        "parquet": (ImageParquet, format_files.write_parquet),
        "arrow": (ImageArrow, format_files.write_arrow),
    }[kind]
    last = sorted(write(folder, tmp_path / "x").iterdir())[-1]
    content = last.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 8):
        last.write_bytes(content[:size])
        assert f"{last}: cannot be read (" in refused(cls, tmp_path / "x")
    last.unlink()
    assert f"expected 2 shards, but {last} is missing" in refused(cls, tmp_path / "x")
    assert "files, but" in refused(cls, folder)


def test_shards_of_several_splits_are_refused_and_a_pattern_chooses(folder, tmp_path):
    format_files.write_parquet(folder, tmp_path / "x")
    shutil.copy(tmp_path / "x/train-00000-of-00002.parquet", tmp_path / "x/test-00000-of-00001.parquet")
    assert f"has test, train; choose one, such as {tmp_path}/x/train-*" in refused(ImageParquet, tmp_path / "x")
    data = ImageParquet(f"{tmp_path}/x/train-*", 4, 1, test_root=f"{tmp_path}/x/test-*", num_workers=0)
    data.setup()
    assert data.sizes == {"train": 6, "test": 3}


TREES = {
    "folders": (["train/0000", "test/0000"], "test, train", "train"),
    "several in folders": (["x/val2/0", "x/train1/0", "x/train2/0"], "train, validation", "x/train*/*"),
    "files": (["train", "validation"], "train, validation", "train"),
    "prefixes": (["train-000000", "train-000001", "val-000000"], "train, validation", "train-*"),
    "inner words": (["cc_Test.0", "cc_Training.0"], "test, train", "cc_Training.0"),
    "rest": (["a-0", "a-1", "test-0"], "a-0.X, test-0.X", "a-*"),
    "announced": (["data/eval-00000-of-00001", "data/train-00000-of-00001"], "data/eval, data/train", "data/train-0"),
    "configurations": (["en/train-00000-of-00001", "fr/train-00000-of-00001"], "en/train, fr/train", "en"),
    "two lengths": (["x-00000-of-00001", "x-00000-of-00002", "x-00001-of-00002"], "x-00000-of-00001", "x-0000"),
    "announced and others": (["x-00000-of-00001", "more"], "more", "x-00000-of-00001"),
    "caches": (["cache-0123456789abcdef", "x"], "cache-0123456789abcdef", "x"),
}


@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
@pytest.mark.parametrize(("names", "groups", "choice"), TREES.values(), ids=TREES)
def test_files_of_several_splits_are_never_one_set(tmp_path, names, groups, choice, suffix):
    """In a folder and by a pattern, trained on and scored; what the line advises is one split."""
    kind = {".parquet": ImageParquet, ".tar": ImageWebDataset}[suffix]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        if kind == ImageParquet:
            write_table(tmp_path / f"{name}{suffix}", image=[png(), png()])
        else:
            tarred(tmp_path / f"{name}{suffix}", ("a.png", png()), ("b.png", png()))
    message = refused(kind, tmp_path)
    assert (
        message.startswith(f"root: expected the shards of one split, but '{tmp_path}' has ")
        and groups.replace(".X", suffix) in message
    )
    advised = message.partition("; choose one, such as ")[2]
    assert advised.startswith(f"{tmp_path}/{choice}")
    assert refused(kind, f"{tmp_path}/**/*{suffix}").partition("; ")[2] == message.partition("; ")[2]
    with pytest.raises(ConfigError) as scored:
        open_images(str(tmp_path))
    assert str(scored.value) == message.replace("root: ", "images: ", 1)
    data = kind(advised, 4, 1, num_workers=0)
    data.setup()
    assert data.sizes["train"] == len(open_images(advised)) in (2, 4)


@pytest.mark.parametrize(
    "names",
    [
        ["0000", "0001"],
        ["part-0000", "part-0001"],
        ["a/0000", "b/0000"],
        ["cats-1", "dogs-1"],
        ["train-0", "more/train-0"],
        ["train-00000-of-00002-0123456789abcdef", "train-00001-of-00002-fedcba9876543210"],
    ],
)
def test_shards_without_a_sign_of_splits_are_one_set_whose_images_have_different_names(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_table(tmp_path / f"{name}.parquet", image=[png(), png()])
    data = ImageParquet(str(tmp_path), 4, 1, num_workers=0, cache_bytes=0)
    data.setup()
    source = data.store("train").source
    assert {source.where(i) for i in range(4)} == {
        f"{tmp_path}/{name}.parquet: row {i}" for name in names for i in (0, 1)
    }
    assert len({source.name(i) for i in range(4)}) == 4


def test_two_versions_of_one_shard_are_refused(tmp_path):
    for end in ("0123456789abcdef", "fedcba9876543210"):
        write_table(tmp_path / f"train-00000-of-00001-{end}.parquet", image=[png()])
    assert "are both number 00000; remove the older one" in refused(ImageParquet, tmp_path)


def test_folders_of_splits_are_not_classes_and_their_images_not_merged_without_a_word(tmp_path, capsys):
    for name in ("train/a/0.png", "train/b/0.png", "test/a/0.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(png())
    assert f"has the splits test, train; choose one, such as {tmp_path}/train" in refused(ImageClassFolder, tmp_path)
    data = ImageFolder(str(tmp_path), 4, 1)
    data.setup()
    note = "the images of test and train are taken as one set; to have one split, give its folder"
    assert capsys.readouterr().err == f"data.root: {note}\n" and data.sizes["train"] == 3
    assert open_images(str(tmp_path)).note == f"{tmp_path}: {note}"
    path = zipped(tmp_path / "x.zip", ("train/a.png", png()), ("test/a.png", png()))
    assert open_images(str(path)).note == f"{path}: {note}"
    path.unlink()
    (tmp_path / "test").rename(tmp_path / "bus")  # an engine has the name of a split
    data = ImageClassFolder(str(tmp_path), 4, 1)
    data.setup()
    assert data.class_names == ("bus", "train") and not capsys.readouterr().err


def test_a_shard_that_leads_out_of_its_folder_is_refused(folder, tmp_path):
    format_files.write_arrow(folder, tmp_path / "x", shards=1)
    (tmp_path / "y").mkdir()
    (tmp_path / "y/x.arrow").symlink_to(tmp_path / "x/data-00000-of-00001.arrow")
    assert "outside the folder" in refused(ImageArrow, tmp_path / "y")


def test_a_damaged_arrow_file_ends_no_process(folder, tmp_path):
    """Whatever bytes of its first part are others."""
    (path,) = format_files.write_arrow(folder, tmp_path / "x", shards=1).iterdir()
    content, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(content)
        for place in random.integers(0, len(content) // 3, 8):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        refused(ImageArrow, path)


def tarred(path, *members, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(member, io.BytesIO(content))
    return path


SHARDS = {
    "out of the folder": ([("../a.png", png())], "../a.png leads out of the folder"),
    "two images": ([("a.png", png()), ("a.jpg", png())], "one image in an example, but a.jpg and a.png are named"),
    "class in words": (
        [("a.png", png()), ("a.cls", b"cat")],
        "a whole number from 0 as label, but a.cls has 'cat'; numb",
    ),
    "class of a fraction": ([("a.png", png()), ("a.cls", b"1.0")], "whole number from 0 as label, but a.cls has '1.0'"),
    "no class": ([("a.png", png()), ("a.CLS", b"")], "expected a whole number from 0 as label, but a.CLS has ''"),
    "long class": ([("a.png", png()), ("a.cls", b"9" * 5000)], "a.cls cannot be read (Exceeds the limit"),
    "negative class": ([("a.png", png()), ("a.cls", b"-1")], "a whole number from 0 as label, but a.cls has '-1'"),
    "two classes": (
        [("a.png", png()), ("a.JSON", b'{"label": 1}'), ("a.cls", b"2")],
        "expected one label for an example, but a.cls has 2, another file 1",
    ),
    "twice": ([("a.png", png()), ("b.png", png()), ("a.png", png())], "one after another, but a.png is apart from"),
    "apart": ([("a.png", png()), ("b.png", png()), ("a.cls", b"1"), ("b.cls", b"1")], "another, but a.cls is apart"),
    "some classes": ([("a.png", png()), ("a.cls", b"1"), ("b.png", png())], "a label for every image, but x.tar/b.png"),
    "broken JSON": ([("a.png", png()), ("a.json", b"{")], "a.json cannot be read (Expecting property name"),
    "no image": ([("a.txt", b"1")], "no image in"),
    "no image file": ([("a.png", b"1")], "x.tar/a.png: cannot be read as an image (cannot identify"),
}


@pytest.mark.parametrize(("members", "said"), SHARDS.values(), ids=SHARDS)
def test_a_tar_shard_with_something_else_is_refused(tmp_path, members, said):
    message = refused(ImageWebDataset, tarred(tmp_path / "x.tar", *members))
    assert said in message and "fetch it again" not in message


def test_a_truncated_tar_shard_is_refused_wherever_it_ends(folder, tmp_path):
    """Also between two files, where tarfile sees nothing wrong."""
    path = format_files.write_tar(folder, tmp_path / "x", shards=1) / "000000.tar"
    content = path.read_bytes()
    for size in (0, 100, 700, 1024, 3 * 1024, 5 * 1024 + 200):
        path.write_bytes(content[:size])
        assert "000000.tar: cannot be read as a WebDataset shard (" in refused(ImageWebDataset, tmp_path / "x")
    path.write_bytes(gzip.compress(content))
    assert "got one compressed by gzip; uncompress it" in refused(ImageWebDataset, path)
    tarred(path, ("a.png", b""), kind=tarfile.SYMTYPE)
    assert "a.png is not a regular file" in refused(ImageWebDataset, path)


ARRAYS = {
    "floats": (np.zeros((2, 4, 4, 3), np.float32), "got float32 of (2, 4, 4, 3)"),
    "channels first": (np.zeros((2, 3, 32, 32), np.uint8), "expected channels last"),
    "one channel": (np.zeros((2, 4, 4), np.uint8), "image 0: expected 3 channels, got 1; set channels: 1"),
    "too few axes": (np.zeros((2, 4), np.uint8), "got uint8 of (2, 4)"),
    "none": (np.zeros((0, 4, 4, 3), np.uint8), "got uint8 of (0, 4, 4, 3)"),
    "objects": (np.array([{}], dtype=object), "Python objects"),
    "more levels": (np.full((2, 4, 4, 3), 300, np.uint16), "expected levels 0 to 255, got 300"),
}


@pytest.mark.parametrize(("array", "said"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_of_something_else_is_refused(tmp_path, array, said):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    assert said in refused(ImageArray, tmp_path / "x.npy")


def test_an_array_file_that_lies_or_does_not_fit_is_refused(tmp_path):
    images = np.zeros((3, 4, 4, 3), np.uint8)
    np.save(tmp_path / "x.npy", images)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    assert "expected 144 bytes of shape (3, 4, 4, 3), found 143" in refused(ImageArray, tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", images=images, labels=np.zeros(2, int))
    said = "expected 3 whole numbers as labels in the array labels, got int64 of (2,)"
    assert said in refused(ImageArray, tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", images=images, y=np.full(3, 2**40))
    said = (
        "expected labels 0 to 2147483647 in the array y, got 1099511627776 to 1099511627776; number the classes from 0"
    )
    assert said in refused(ImageArray, tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", a=images, b=images)
    assert "expected one array named arr_0, images" in refused(ImageArray, tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", images)
    assert "got 8; set num_levels: 256" in refused(ImageArray, tmp_path / "x.npy", num_levels=65536)


def test_a_folder_that_is_not_a_class_and_classes_that_differ_are_refused(folder, tmp_path):
    (folder / "x.png").write_bytes(png())
    assert f"{folder}/x.png is in none; move it" in refused(ImageClassFolder, folder)
    (folder / "x.png").unlink()
    (tmp_path / "test/c").mkdir(parents=True)
    (tmp_path / "test/c/x.png").write_bytes(png())
    message = refused(ImageClassFolder, folder, test_root=str(tmp_path / "test"))
    assert message.startswith("test_root: expected the classes of root, 2 (a, b, ..); got 1 (c, ..)")
