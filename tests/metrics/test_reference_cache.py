"""Statistics of a reference are computed once, found again, and never believed when the file is damaged."""

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from lit_diffusion.data.image_set import open_images
from lit_diffusion.metrics import DDPMRelease, TorchFidelity, reference_cache
from lit_diffusion.metrics.reference_cache import cache_file, cache_folder, read_cached, write_cached
from lit_diffusion.metrics.reference_statistics import reference_statistics
from tests.metrics.made import Table, normal, numbered

COUNT = 100
PROTOCOL = TorchFidelity()


def table(seed=0):
    return Table(normal(COUNT, 4, seed))


def files(cache) -> list[Path]:
    """All files of the cache, temporary ones too."""
    return [path for path in cache.rglob("*") if path.is_file()]


def same(one, other) -> bool:
    tensors = all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("mean", "covariance", "features"))
    return tensors and one.count == other.count


@pytest.fixture
def computed(cache):
    """Statistics and the file that they went to."""
    statistics = reference_statistics(numbered(COUNT), table(), PROTOCOL)
    (path,) = files(cache)
    return statistics, path


def test_statistics_are_computed_once_and_found_again(cache):
    """The second time the network does not run."""
    first, second = table(), table()
    computed = reference_statistics(numbered(COUNT), first, PROTOCOL)
    found = reference_statistics(numbered(COUNT, "another name"), second, PROTOCOL)
    assert first.forward_passes > 0 and second.forward_passes == 0
    assert same(found, computed)
    assert len(files(cache)) == 1


def test_another_extractor_protocol_or_set_of_images_has_a_file_of_its_own(cache, computed):
    """But not another number of splits, which statistics do not depend on."""
    for images, extractor, protocol in (
        (numbered(COUNT), table(seed=1), PROTOCOL),
        (numbered(COUNT - 1), table(), PROTOCOL),
        (replace(numbered(COUNT), num_levels=17), Table(normal(65536, 4, 0)), PROTOCOL),
        (numbered(COUNT), table(), TorchFidelity(max_features=50)),
        (numbered(COUNT), table(), DDPMRelease()),
    ):
        before = files(cache)
        statistics = reference_statistics(images, extractor, protocol)
        assert extractor.forward_passes > 0
        assert len(files(cache)) == len(before) + 1
        assert not same(statistics, computed[0]) or isinstance(protocol, DDPMRelease)
    again = table()
    reference_statistics(numbered(COUNT), again, TorchFidelity(splits=3, kid_subsets=1))
    assert again.forward_passes == 0


def test_a_change_of_any_file_of_a_folder_is_noticed(tmp_path):
    """Its content, also where name, size and time of modification agree, as in files without compression; its name."""
    for name, colour in {"a": 10, "b": 20}.items():
        Image.new("RGB", (4, 4), color=(colour, 0, 0)).save(tmp_path / f"{name}.bmp")
        os.utime(tmp_path / f"{name}.bmp", (0, 0))

    def fingerprint():
        return open_images(str(tmp_path)).fingerprint

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    Image.new("RGB", (4, 4), color=(30, 0, 0)).save(tmp_path / "b.bmp")
    os.utime(tmp_path / "b.bmp", (0, 0))
    seen.append(fingerprint())
    (tmp_path / "b.bmp").rename(tmp_path / "c.bmp")
    seen.append(fingerprint())
    (tmp_path / "c.bmp").unlink()
    seen.append(fingerprint())
    assert len(set(seen)) == 4


def damages(content: bytes):
    """Contents of a file that is not what was written."""
    yield "empty", b""
    yield "garbage", b"\x00garbage" * 100
    yield "text", b"hello"
    for length in (1, 7, 8, 100, len(content) // 2, len(content) - 1):
        yield f"cut at {length}", content[:length]
    yield "longer", content + b"\0"
    header = 8 + int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8:header])
    other = content.replace(f'"count":"{COUNT}"'.encode(), b'"count":"101"')
    assert metadata["__metadata__"]["count"] == str(COUNT) and other != content
    yield "another count", other
    for place in (*range(header), *range(header, len(content), 97)):
        for mask in (0x01, 0x80):
            yield f"byte {place} ^ {mask}", content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def test_no_damage_is_ever_believed(computed):
    """A cut, or one byte that differs: the file is as good as missing, or its content is the same all the same."""
    statistics, path = computed
    content, believed = path.read_bytes(), []
    for name, damaged in damages(content):
        path.write_bytes(damaged)
        found = read_cached(path)
        if found is not None and not same(found, statistics):
            believed.append(name)
    assert not believed


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut at 100", "another count", "folder"])
def test_what_is_damaged_is_computed_again_and_written_anew(cache, computed, damage):
    statistics, path = computed
    content = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(dict(damages(content))[damage])
    again = table()
    assert same(reference_statistics(numbered(COUNT), again, PROTOCOL), statistics)
    assert again.forward_passes > 0
    if damage != "folder":
        assert same(read_cached(path), statistics)
    assert len(files(cache)) == (damage != "folder")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIT_DIFFUSION_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        extractor = table()
        assert reference_statistics(numbered(COUNT), extractor, PROTOCOL).count == COUNT
        assert extractor.forward_passes > 0


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error")], ids=str)
def test_a_full_disk_leaves_no_half_a_file(cache, monkeypatch, error):
    """The temporary file goes, the statistics are there."""

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(reference_cache, "save_file", full)
    assert reference_statistics(numbered(COUNT), table(), PROTOCOL).count == COUNT
    assert files(cache) == []


def test_a_file_is_written_whole_or_not_at_all(cache, computed, monkeypatch):
    """Whoever reads while it is written anew reads the old one."""
    statistics, path = computed
    other = replace(statistics, mean=statistics.mean + 1)
    save, seen = reference_cache.save_file, []

    def watch(tensors, temporary, metadata):
        save(tensors, temporary, metadata)
        seen.append(read_cached(path))

    monkeypatch.setattr(reference_cache, "save_file", watch)
    write_cached(path, other)
    assert same(seen[0], statistics) and same(read_cached(path), other)
    assert files(cache) == [path]


def on_its_own(barrier, results):
    extractor = table()
    barrier.wait()
    statistics = reference_statistics(numbered(COUNT), extractor, PROTOCOL)
    results.put([getattr(statistics, name).tolist() for name in ("mean", "covariance", "features")])


def test_four_processes_that_start_together_get_the_same(cache):
    """And leave one file, which a fifth finds."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=on_its_own, args=(barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    fifth = table()
    statistics = reference_statistics(numbered(COUNT), fifth, PROTOCOL)
    assert fifth.forward_passes == 0
    expected = [getattr(statistics, name).tolist() for name in ("mean", "covariance", "features")]
    assert all(one == expected for one in found)
    assert len(files(cache)) == 1


def test_other_ranks_learn_from_the_first_whether_to_compute(cache, computed):
    """The cache of another machine may differ: the first rank's word holds."""
    heard = []

    def broadcast(value):
        heard.append(value)
        return True

    extractor = table()
    assert reference_statistics(numbered(COUNT), extractor, PROTOCOL, broadcast, ranks=(1, 2)) is None
    assert heard == [False] and extractor.forward_passes == 0
    assert same(reference_statistics(numbered(COUNT), extractor, PROTOCOL, broadcast, ranks=(0, 2)), computed[0])
    assert heard == [False, True]


def test_the_cache_lies_in_the_folder_of_its_variable(monkeypatch, tmp_path):
    """LIT_DIFFUSION_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "~/xdg")
    monkeypatch.setenv("LIT_DIFFUSION_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    assert cache_file("a", "b").parent == tmp_path / "own/references"
    monkeypatch.delenv("LIT_DIFFUSION_CACHE")
    assert cache_folder() == tmp_path / "xdg/lit_diffusion"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache/lit_diffusion"


def test_parts_of_a_key_do_not_run_into_each_other():
    assert cache_file("a", "bc") != cache_file("ab", "c")
