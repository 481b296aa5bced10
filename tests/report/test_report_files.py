"""Files of run folders as a page reads them: bounded, through no link, and thinned without losing a peak."""

import base64
import io
import os
import random
import struct
import zlib

import pytest
from PIL import Image

from lit_diffusion.errors import ConfigError
from lit_diffusion.report import pictures
from lit_diffusion.report.picture_encoding import Encoded, encode_picture
from lit_diffusion.report.pictures import divide, make_album
from lit_diffusion.report.run_files import read_part
from lit_diffusion.report.thinning import thin
from lit_diffusion.report.training_curves import parse_curves
from tests.report.report_made import put_run


def test_links_devices_and_large_files_are_not_read(tmp_path):
    """Nothing from outside the folder reaches a page that is sent to others, and nothing blocks."""
    run, secret = put_run(tmp_path / "run"), tmp_path / "secret.csv"
    secret.write_text("step,secret\n1,2\n")
    (run / "metrics.csv").unlink()
    (run / "metrics.csv").symlink_to(secret)
    (run / "predict").symlink_to(tmp_path)
    os.mkfifo(run / "pipe")
    for name, message in (
        ("metrics.csv", "a link"),
        ("predict/secret.csv", "a link"),
        ("pipe", "not a regular file"),
    ):
        with pytest.raises(ConfigError, match=f"{name}: {message}"):
            read_part(run, name, 100)
    with pytest.raises(ConfigError, match=r"config\.yaml: expected at most"):
        read_part(run, "config.yaml", 5)
    assert read_part(run, "none", 5) is None


def test_a_resumed_or_disordered_file_gives_each_step_once():
    curves, problems = parse_curves(b"step,a\n1,1\n2,2\n1,3\n3,4\n")
    assert (curves["a"].steps, curves["a"].values) == ([1, 2, 3], [3.0, 2.0, 4.0]) and not problems


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n", b"step,step\n1,2\n", b"\xff\xfe\x00", b"step,a\n" + b"9" * 200_000 + b",1\n", b"step\n" * 9],
)
def test_files_that_are_not_metrics_give_no_curves(content):
    curves, _ = parse_curves(content)
    assert not any(curve.steps for curve in curves.values())


def test_thinning_keeps_ends_and_every_peak_and_means_for_smoothing():
    random.seed(0)
    x, y = list(range(10_000)), [random.gauss(0, 1) for _ in range(10_000)]
    y[4321], y[8765] = 99.0, -99.0
    points = thin(x, y, 1000)
    assert len(points.x) <= 1002 and points.x == sorted(set(points.x))
    assert {(4321, 99.0), (8765, -99.0)} <= set(zip(points.x, points.y))
    assert (points.x[0], points.x[-1]) == (0, 9999)
    assert sum(points.means[1]) / 500 == pytest.approx(sum(y) / 10_000, abs=1e-4)
    assert thin(x[:5], y[:5], 1000).x == [0, 1, 2, 3, 4]


def png(width, height, data=b""):
    """A PNG file with any size in its header."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(one)) + name + one + struct.pack(">I", zlib.crc32(name + one)) for name, one in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(100_000, 100_000, zlib.compress(bytes(1000))), "pixels"),
        (png(10_000, 10_000), "pixels are too many"),
        (png(4, 4), "cannot be read as a picture"),
        (b"GIF89a", "cannot be read as a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "cannot be read as a picture"),
    ],
)
def test_pictures_that_are_none_or_too_large_are_refused_before_they_are_decoded(content, message):
    with pytest.raises(ConfigError, match=message):
        encode_picture(content, 10**6)


def decode(source):
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def noise(size, path):
    image = Image.frombytes("RGB", size, random.Random(0).randbytes(size[0] * size[1] * 3))
    image.save(path)
    return image


def test_pictures_are_equal_to_the_bit_unless_they_are_too_large(tmp_path):
    image = noise((60, 40), tmp_path / "a.png")
    encoded = encode_picture((tmp_path / "a.png").read_bytes(), 10**6)
    assert decode(encoded.source).convert("RGB").tobytes() == image.tobytes() and not encoded.note
    small = encode_picture((tmp_path / "a.png").read_bytes(), 3000)
    assert small.note.startswith("compressed with loss") and (small.width, small.height) == (60, 40)
    noise((1700, 20), tmp_path / "wide.png")
    wide = encode_picture((tmp_path / "wide.png").read_bytes(), 10**6)
    assert (wide.width, wide.note) == (850, "1/2 of its size")


def test_when_pictures_do_not_fit_the_last_of_all_runs_come_first(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for seed, folder in enumerate(folders):
        (folder / "samples").mkdir(parents=True)
        for step in range(9):
            pixels = random.Random(10 * seed + step).randbytes(30 * 30 * 3)
            Image.frombytes("RGB", (30, 30), pixels).save(folder / f"samples/{step:08}_samples.png")
    album = make_album(folders, [[], []], most=5 * 3800)
    assert [[step for step, _ in album.shown["samples"][run]] for run in (0, 1)] == [[0, 4, 8], [0, 8]]
    assert album.left_out == 13


def test_pictures_are_not_encoded_without_room_for_them(tmp_path, monkeypatch):
    folder, encoded = tmp_path / "samples", []
    folder.mkdir()
    noise((30, 30), folder / "00000000_samples.png")
    for step in range(1, 400):
        (folder / f"{step:08}_samples.png").write_bytes((folder / "00000000_samples.png").read_bytes())

    def encode(content, most):
        encoded.append(content)
        return Encoded(f"{len(encoded):0>100}", 1, 1)

    monkeypatch.setattr(pictures, "encode_picture", encode)
    album = make_album([tmp_path], [[]], most=1050)
    assert (len(album.pictures), album.left_out, len(encoded)) == (10, 390, 2 * pictures.AT_ONCE)


def test_steps_are_chosen_evenly():
    assert [sorted(divide(9)[:count]) for count in (1, 2, 3, 5, 9)] == [
        [8], [0, 8], [0, 4, 8], [0, 2, 4, 6, 8], list(range(9)),
    ]  # fmt: skip
    assert divide(0) == [] and divide(1) == [0]
