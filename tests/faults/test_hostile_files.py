"""Files of a stranger run no code, fill no memory and lead nowhere: each is refused by name, in one line."""

import collections
import csv
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.callbacks.predict.conditioned import known_part
from lit_diffusion.cli.entry import main as shell
from lit_diffusion.config import untrusted_yaml
from lit_diffusion.data.image_decoding import decode
from lit_diffusion.data.image_listing import list_images
from lit_diffusion.data.image_set import open_images
from lit_diffusion.data.torchvision_sets import CIFAR10
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import InceptionFeatures
from lit_diffusion.runs import summary
from lit_diffusion.sweep.command import main as sweep
from lit_diffusion.sweep.sweep_file import SweepFile
from lit_diffusion.table.command import main as table
from tests.conftest import TINY, write_cifar10
from tests.table.table_made import layout, put
from tests.table.table_made import summary as made

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


class Payload:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def touched(tmp_path) -> Path:
    """The file that code of a stranger would make."""
    return tmp_path / "touched"


def refused(function, *arguments, **options) -> str:
    """The one line with which something is refused."""
    with pytest.raises(ConfigError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bomb(levels: int = 9) -> str:
    """A short YAML file that stands for 10 ** levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


YAML = {
    "an object": ("x: !!python/object/apply:pathlib.Path.touch [{touched}]", "not valid YAML"),
    "a name": ("x: !!python/name:os.system", "not valid YAML"),
    "a module": ("x: !!python/module:os", "not valid YAML"),
    "an instance": ("x: !!python/object/new:subprocess.Popen [[touch, {touched}]]", "not valid YAML"),
    "a bomb": (bomb(), "expands to more than 10,000 values"),
    "a loop": ("x: &x [*x]", "nested more than 50 levels deep"),
    "depth": ("x: " + "[" * 5000, "not readable as YAML"),
    "no number": ("x: " + "9" * 5000, "not readable as YAML"),
    "no date": ("x: 2001-99-99", "not readable as YAML"),
    "a tag without a value": ("x: !!bool maybe", "not readable as YAML"),
    "length": ("x: " + "y" * 2**20, "is larger than 1 MiB"),
}


@pytest.mark.parametrize(("text", "said"), YAML.values(), ids=YAML)
@pytest.mark.parametrize("kind", ["config", "overlay", "sweep", "base of a sweep", "layout", "config.yaml of a run"])
def test_yaml_makes_no_objects_and_fits_into_memory(command, tmp_path, touched, kind, text, said):
    """Wherever it is read."""
    (tmp_path / "bad.yaml").write_text(text.replace("{touched}", str(touched)))
    put(tmp_path / "runs" / "x", made(scores={"fid": 1.0}))
    (tmp_path / "runs" / "x" / "config.yaml").write_text((tmp_path / "bad.yaml").read_text())
    read = {
        "config": lambda: command("fit", "-c", "bad.yaml"),
        "overlay": lambda: command("fit", *TINY, "-c", "bad.yaml"),
        "sweep": lambda: sweep(["bad.yaml", *TINY]),
        "base of a sweep": lambda: sweep(["sweeps/schedules.yaml", "-c", "bad.yaml", "--dry-run"]),
        "layout": lambda: table(["runs", "--layout", "bad.yaml"]),
        "config.yaml of a run": lambda: command("test", "-c", "runs/x/config.yaml", "--ckpt_path=last"),
    }
    message = refused(read[kind])
    assert said in message and len(message) < 1000
    assert not touched.exists()


def test_yaml_is_not_a_pipe(tmp_path):
    """Which would never end."""
    os.mkfifo(tmp_path / "x.yaml")
    assert "expected a regular file" in refused(untrusted_yaml.load, tmp_path / "x.yaml")


@pytest.mark.parametrize("kind", ["zip", "old", "bare pickle"])
@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_runs_no_code(command, tmp_path, touched, subcommand, kind):
    """Not even where the configuration asks Lightning for all that a pickle can do."""
    import pickle

    content = {"state_dict": {}, "optimizer_states": [], "pytorch-lightning_version": "2", "x": Payload(touched)}
    if kind == "bare pickle":
        Path("bad.ckpt").write_bytes(pickle.dumps(content))
    else:
        torch.save(content, "bad.ckpt", _use_new_zipfile_serialization=kind == "zip")
    message = refused(command, subcommand, *TINY, "--ckpt_path=bad.ckpt", "--weights_only=false")
    assert message.startswith("command line: ckpt_path: bad.ckpt is damaged or not a checkpoint of lit_diffusion")
    assert not touched.exists()


def test_lightning_reads_weights_only(parse):
    """Whatever a file says."""
    assert parse(*TINY, "--weights_only=false").settings.weights_only is True


def test_inceptions_weights_run_no_code(tmp_path, touched):
    """Of `lit-diffusion score --weights`."""
    torch.save({"x": Payload(touched), "y": collections.Counter()}, tmp_path / "weights.pth")
    assert "is not a file of tensors" in refused(InceptionFeatures(str(tmp_path / "weights.pth")).load)
    assert not touched.exists()


def png(width: int, height: int, data: bytes) -> bytes:
    """A grey PNG file that says a size, around these bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n8 8 scale\nshowpage\n%%EOF\n"
PICTURES = {
    "gigapixels.png": (png(60_000, 60_000, bytes(100)), "decompression bomb"),
    "truncated.png": (png(64, 64, bytes(65 * 10)), "truncated"),
    "two_gigabytes.png": (png(2**31 - 1, 1, b"\0"), ""),
    "nothing.png": (png(0, 8, b"\0"), ""),
    "lie.bmp": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 3000, 3000, 1, 24, 0, 0, 0, 0, 0, 0),
        "trunc",
    ),
    "lie.ppm": (b"P6 9000 9000 255\nxyz", "truncated"),
    "program.png": (EPS, "cannot identify"),
    "random.jpg": (b"\xff\xd8\xff\xe0" + bytes(range(200)), ""),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("size", [8, None])
def test_a_picture_that_lies_is_refused_by_name(tmp_path, monkeypatch, name, size):
    """Before memory is made for it, and no program is started to draw it."""
    content, said = PICTURES[name]
    path = tmp_path / name
    path.write_bytes(content)
    monkeypatch.setattr("subprocess.check_call", lambda *a, **k: pytest.fail("a program was started"))
    message = refused(decode, str(path), size, 3)
    assert message.startswith(f"{path}: cannot be read as an image (") and said in message
    if size is None:
        assert name in refused(known_part, str(path), (1, 8, 8))


def test_a_picture_is_a_regular_file_of_its_folder(tmp_path):
    """No pipe, no link out of it. A folder that is a link is the user's choice; a link inside of it is passed over."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, inside):
        folder.mkdir()
        Image.new("L", (8, 8)).save(folder / "x.png")
    (inside / "again.png").symlink_to("x.png")
    (tmp_path / "link").symlink_to(inside)
    assert list_images(str(tmp_path / "link"), "root").paths == ["x.png"]
    for name, target, why in (
        ("out.png", outside / "x.png", "outside the folder"),
        ("up.png", "../outside/x.png", "outside the folder"),
        ("all", outside, "outside the folder"),
        ("no", "nil", "which is missing"),
    ):
        (inside / name).symlink_to(target)
        message = refused(list_images, str(inside), "root")
        assert message.startswith(f"root: {inside / name} links to ") and why in message
        assert name in refused(open_images, str(inside))
        (inside / name).unlink()
    os.mkfifo(inside / "pipe.png")
    assert "pipe.png is not a regular file" in refused(list_images, str(inside), "root")
    assert "not a regular file" in refused(decode, str(inside / "pipe.png"), 8, 1)


def npy(shape: tuple[int, ...], data: bytes = b"", descr: str = "|u1") -> bytes:
    """An NPY file that says a shape, before these bytes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def npz(path: Path, content: bytes, name: str = "arr_0.npy", repeat: int = 1) -> Path:
    """An archive of one array, and as many times a mebibyte of zeros behind it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as file:
        file.write(content)
        for _ in range(repeat - 1):
            file.write(bytes(2**20))
    return path


ARRAYS = {
    "a huge shape": (npy((2**40, 8, 8, 3)), "found 0"),
    "an endless shape": (npy((2**62, 2**62, 4, 3)), "found 0"),
    "a negative shape": (npy((-1, 8, 8, 3)), "shape"),
    "less than it says": (npy((4, 8, 8, 3), bytes(100)), "found 100"),
    "more than it says": (npy((1, 8, 8, 3), bytes(1000)), "found 1,000"),
    "objects": (npy((1,), b"\x80\x04N.", "|O"), "Python objects"),
    "no header": (b"\x93NUMPY\x01\x00\xff\xff{'descr':", ""),
    "code in the header": (b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('true')\n", ""),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(100), "version"),
}


@pytest.mark.parametrize(("content", "said"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_lies_is_refused_by_name(tmp_path, content, said):
    """Alone and in an archive."""
    (tmp_path / "x.npy").write_bytes(content)
    for path in (tmp_path / "x.npy", npz(tmp_path / "x.npz", content)):
        message = refused(open_images, str(path))
        assert message.startswith(f"images: {path}: cannot be read as images (") and said in message


def test_an_archive_that_expands_beyond_all_images_is_refused(tmp_path, monkeypatch):
    """Before it expands. What real images do, they may."""
    monkeypatch.setattr("lit_diffusion.data.npz_file.SMALL", 2**20)
    path = npz(tmp_path / "x.npz", npy((8, 1024, 1024, 1), bytes(2**20)), repeat=8)
    assert path.stat().st_size < 10_000
    assert "decompression bomb" in refused(open_images, str(path))
    images = np.random.default_rng(0).integers(0, 2, (9, 512, 512, 1), dtype=np.uint8)
    np.savez_compressed(tmp_path / "y.npz", images)
    assert len(open_images(str(tmp_path / "y.npz"))) == 9


def test_an_archive_that_lies_about_its_length_is_refused(tmp_path):
    """The zip's directory says another size than what is compressed there."""
    path = npz(tmp_path / "x.npz", npy((1, 8, 8, 3), bytes(192)))
    content = path.read_bytes()
    size = struct.pack("<I", len(npy((1, 8, 8, 3), bytes(192))))
    assert content.count(size) >= 1
    path.write_bytes(content.replace(size, struct.pack("<I", 2**31 - 1)))
    assert str(path) in refused(open_images, str(path))
    npz(path, b"", name="../arr_0.npy")
    assert "expected one array named arr_0, images, x, x_train, found " in refused(open_images, str(path))


def test_an_archive_that_is_not_torchvisions_is_never_unpacked(tmp_path, monkeypatch):
    """Whatever its members are called: checksums of archives are compared first, those of files when they are read."""
    root = tmp_path / "data"
    root.mkdir()
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../evil")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    assert "no CIFAR10 in" in refused(CIFAR10(root=str(root)).prepare_data)
    assert not (tmp_path / "evil").exists()


def test_pickles_of_cifar10_are_read_only_with_torchvisions_checksums(tmp_path, monkeypatch, touched):
    """One byte more, and they are not read."""
    import pickle

    write_cifar10(tmp_path, 2, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(Payload(touched)))
    assert "damaged: test_batch" in refused(CIFAR10(root=str(tmp_path), download=False).setup)
    assert not touched.exists()


@pytest.fixture
def hostile_run(tmp_path, touched):
    """A run's folder in which every text is a command, and every file that no table reads is code."""
    command = f"=cmd|' /C calc'!A0 | a\n\r\t{ESCAPE}\\input{{/etc/passwd}} $(touch {touched}) `id` <script>"
    settings = {"model": command, f"model.{command}": command, "data": "Digits"}
    for number, name in enumerate((f"a{ESCAPE}", "b")):
        scores = {"fid": {"value": number, "std": None, "protocol": {command: command}}, command: {"value": 1.0}}
        content = {**made(seed=number), "scores": scores, "settings": {**settings, "x": [number, command]}}
        put(tmp_path / "runs" / name, content)
        folder = tmp_path / "runs" / name
        (folder / "config.yaml").write_text(f"model: !!python/object/apply:pathlib.Path.touch [{touched}]")
        (folder / "checkpoints").mkdir()
        torch.save(Payload(touched), folder / "checkpoints" / "last.ckpt")
        (folder / "metrics.csv").write_text(f"step,train/loss\n{command},{command}\n")
    return tmp_path / "runs"


@pytest.mark.parametrize("name", ["terminal", "markdown", "latex", "csv"])
def test_nothing_of_a_runs_folder_reaches_a_terminal_or_a_program(hostile_run, touched, capsys, name):
    """No file is executed, no text is a command of a terminal, of Markdown, of LaTeX or of a spreadsheet."""
    table([str(hostile_run), "--format", name])
    out, err = capsys.readouterr()
    assert not touched.exists()
    assert all(character.isprintable() or character == "\n" for character in out + err)
    if name == "csv":
        cells = [cell for row in csv.reader(io.StringIO(out)) for cell in row]
        assert any(cell.startswith("'=cmd") for cell in cells)
        assert not any(cell.startswith(("=", "+", "-", "@")) and not cell[1:2].isdigit() for cell in cells)
    if name == "latex":
        assert "\\input" not in out and "textbackslash{}input" in out
    if name == "markdown":
        lines = [line for line in out.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
        assert "<script>" not in out.replace("\\<script>", "") and "`" not in out.replace("\\`", "")


def test_an_error_about_a_hostile_name_is_one_harmless_line(tmp_path, monkeypatch, capsys):
    """At the real entry."""
    bad = tmp_path / f"x{ESCAPE}\nsecond line"
    put(bad, "{")
    monkeypatch.setattr("sys.argv", ["lit-diffusion", "table", str(bad)])
    with pytest.raises(SystemExit) as ended:
        shell()
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.count("\n") == 1 and err.strip().isprintable() and "is damaged" in err


SUMMARIES = {
    "deep": '{"schema": 1, "scores": {}, "settings": ' + '{"x": ' * 400 + "1" + "}" * 402,
    "deeper": "[" * 200_000,
    "long": '{"schema": 1, "scores": {}, "x": "' + "y" * (10 * 2**20) + '"}',
    "a long number": '{"schema": 1, "scores": {}, "seed": ' + "9" * 5000 + "}",
    "no settings": json.dumps({**made(), "settings": ["x"]}),
    "no status": json.dumps({**made(), "status": {"x": 1}}),
    "no reason": json.dumps({**made(), "reason": ["x"]}),
    "no text": b"\xff\xfe\x00".decode("latin1") * 3,
}


@pytest.mark.parametrize("content", SUMMARIES.values(), ids=SUMMARIES)
def test_a_hostile_summary_is_refused_by_name(tmp_path, content):
    """By tables, and by sweeps, which read it too."""
    path = put(tmp_path / "run", content)
    assert str(path) in refused(summary.read, path)
    assert "no run can be read" in refused(table, [str(tmp_path / "run")])


def test_scores_that_are_not_numbers_count_as_diverged(tmp_path, capsys):
    """NaN, infinities and numbers beyond all floats."""
    scores = '{"fid": {"value": NaN}, "kid": {"value": Infinity}, "recall": {"value": 1e999}, "K": {"value": -1e308}}'
    put(tmp_path / "run", json.dumps({**made(), "scores": "X"}).replace('"X"', scores))
    table([str(tmp_path / "run"), "--format", "csv"])
    out = capsys.readouterr().out
    assert "nan" not in out.lower() and "inf" not in out.lower() and out.count("diverged") == 3


def test_a_summary_is_not_a_pipe(tmp_path):
    """Which would never end."""
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "summary.json")
    assert "not a regular file" in refused(table, [str(tmp_path / "run")])


@pytest.mark.parametrize(
    "latex",
    ["\\input{/etc/passwd}", "\\InputIfFileExists{x}", "\\write18{id}", "^^5cinput{x}", "\\csname x\\endcsname"],
)
def test_a_layouts_latex_sets_texts_and_reads_no_files(tmp_path, latex):
    put(tmp_path / "runs" / "a", made(scores={"fid": 8.0}))
    rows = "rows: [{label: a, where: {model.objective: Simple}}]\n"
    for text in (
        f"columns: [{{score: fid, title: x, latex: '{latex}'}}]\n{rows}",
        f"columns: [fid]\ntitle: x\nlatex: '{latex}'\n{rows}",
        f"columns: [fid]\nrows: [{{label: a, latex: '{latex}', where: {{}}}}]\n",
        f"columns: [fid]\nrows: [{{group: a, latex: '{latex}'}}]\n",
    ):
        message = refused(table, [str(tmp_path / "runs"), "--layout", layout(tmp_path, text), "--format", "latex"])
        assert "is more than a text; use a text or a formula" in message


def test_a_layouts_prefix_is_a_text_in_every_format(tmp_path, capsys):
    put(tmp_path / "runs" / "a", made(scores={"fid": 8.0}))
    text = "columns: [{score: fid, prefix: '\\input{x}|'}]\nrows: [{label: a, where: {model.objective: Simple}}]\n"
    for name, said in (("latex", "\\textbackslash{}input\\{x\\}\\textbar{}8.00"), ("markdown", "\\\\input{x}\\|8.00")):
        table([str(tmp_path / "runs"), "--layout", layout(tmp_path, text), "--format", name])
        assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("--model.reverse.process.schedule.num_steps=100000000000", "model.reverse.process.schedule"),
        ("--model.reverse.network.width=1000000", "model.reverse.network"),
    ],
)
def test_a_model_beyond_the_machines_memory_is_refused_before_it_is_made(command, option, key):
    """The setting is named."""
    message = refused(command, "fit", *TINY, option)
    assert message.startswith(f"command line: {key}: expected settings that fit into memory")


def test_short_texts_do_not_stand_for_gigabytes(command):
    """References that double a text thirty times."""
    texts = "\n".join(f"  x{i}: '${{run.x{i + 1}}}${{run.x{i + 1}}}'" for i in range(30))
    Path("overlay.yaml").write_text(f"run:\n{texts}\n  x30: {'y' * 100}\n")
    assert "expected at most 16 references ${...}, got 60" in refused(command, "fit", *TINY, "-c", "overlay.yaml")


@pytest.mark.parametrize(
    "keys",
    [
        "parameters: {a: {min: 1, max: 100000000000}}",
        "parameters: {a: {min: 1, max: 1000}, b: {min: 1, max: 1000}}",
        "parameters: {a: {values: [1]}}\nrun_cap: 100000000000",
    ],
)
def test_a_sweep_file_does_not_stand_for_endless_cells(tmp_path, keys):
    command = 'command: ["${program}", fit, -c, "${envvar:LIT_DIFFUSION_CONFIG}", "${args}"]'
    (tmp_path / "x.yaml").write_text(f"program: lightning\nmethod: grid\n{keys}\n{command}\n")
    assert "10000" in refused(SweepFile.read, tmp_path / "x.yaml")
