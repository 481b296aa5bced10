"""A failure to print does not fail the work: encodings without a character, readers that leave, full disks."""

import json
import os
import subprocess
import sys
import threading

import pytest

from lit_diffusion.cli.output import Output, open_output
from tests.conftest import ROOT, TINY
from tests.processes import Process

FIT = ["fit", *TINY, "--trainer.max_steps=4", "--bits_per_dim.splits=[test]", "--bits_per_dim.terms=2"]


@pytest.fixture
def standard_output(monkeypatch):
    """standard_output(encoding, works_on) puts a pipe in place of standard output; returns its other end."""

    def put(encoding="utf-8", works_on=True):
        reads, writes = os.pipe()
        stream = open(writes, "w", encoding=encoding, errors="strict")  # noqa: SIM115
        monkeypatch.setattr(sys, "__stdout__", stream)
        monkeypatch.setattr(sys, "stdout", open_output(stream, works_on))
        return reads

    return put


@pytest.mark.parametrize(
    "encoding, shown",
    [
        ("ascii", b"9.2 +- 0.1 <= sigma^2 v ? -"),
        ("latin1", b"9.2 \xb1 0.1 <= sigma\xb2 v ? -"),
        ("utf-8", "9.2 ± 0.1 ≤ σ² ↓ 漢 —".encode()),
    ],
)
def test_every_character_is_printed_in_every_encoding(encoding, shown, standard_output):
    reads = standard_output(encoding)
    print("9.2 ± 0.1 ≤ σ² ↓ 漢 —", flush=True)
    assert os.read(reads, 100) == shown + b"\n"


def test_a_run_whose_scores_need_characters_that_the_output_lacks_finishes(command, standard_output, tmp_path):
    reads = standard_output("ascii")
    command(*FIT, "--run.name=here")
    sys.stdout.flush()
    summary = json.loads((tmp_path / "runs/here/summary.json").read_text())
    assert summary["status"] == "finished" and "bits_per_dim/test" in summary["scores"]
    assert b" +- " in os.read(reads, 1 << 16)


def test_a_run_that_nobody_reads_goes_on_to_its_end_and_saves_all(tmp_path):
    """As after `fit ... 2>&1 | head -1`: status 0, every step, the checkpoint of the last."""
    options = ["--run.name=here", "--trainer.enable_progress_bar=true"]
    process = Process([*FIT, *options], tmp_path)
    process.stdout.close()
    assert process.wait(120) == 0
    summary = json.loads((tmp_path / "runs/here/summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("finished", 4) and "reason" not in summary
    assert (tmp_path / "runs/here/checkpoints/last.ckpt").exists()


@pytest.mark.parametrize("buffered", [True, False])
def test_a_command_that_only_prints_ends_quietly_if_nobody_reads(buffered, tmp_path):
    """With the status of a program that SIGPIPE ends, whether its reader leaves before its lines or between them."""
    reads, writes = os.pipe()
    os.close(reads)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "" if buffered else "1"}
    done = subprocess.run(
        [sys.executable, "-m", "lit_diffusion", "--help"], env=environment, stdout=writes, stderr=subprocess.PIPE
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_the_output_ends_only_what_does_nothing_but_print():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    works = Output(descriptor, works_on=True)
    assert [works.write(b"abc"), works.write(b"d")] == [3, 1]
    prints = Output(descriptor, works_on=False)
    with pytest.raises(OSError, match="No space left"):
        prints.write(b"abc")
    assert prints.write(b"abc") == 3  # the interpreter's flush at the end
    os.close(descriptor)


def test_an_output_that_does_not_block_gets_all(standard_output):
    """As some terminals and continuous integration systems leave it: print would raise BlockingIOError."""
    reads = standard_output()
    os.set_blocking(sys.__stdout__.fileno(), False)
    got = bytearray()

    def read() -> None:
        while len(got) < 1_000_001:
            got.extend(os.read(reads, 1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    print("x" * 1_000_000, flush=True)
    reader.join(10)
    assert got == b"x" * 1_000_000 + b"\n"


def test_what_others_have_put_in_place_of_a_standard_stream_stays(capsys):
    assert open_output(sys.stdout, works_on=False) is sys.stdout
    assert open_output(None, works_on=False).write("into nowhere") == 12
