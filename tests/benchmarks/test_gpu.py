"""The benchmark of GPUs runs in miniature on a CPU."""

import json
import sys

import pytest

from benchmarks.gpu import __main__ as gpu
from tests.conftest import ROOT
from tests.metrics.made import inception_file


@pytest.mark.slow
def test_every_part_runs_in_miniature(monkeypatch, tmp_path, tmp_path_factory, capsys):
    """No part fails; a CPU agrees with itself, and a resumed run with an unbroken one."""
    pytest.importorskip("diffusers")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(gpu.evaluation, "write_inception", lambda folder: inception_file(tmp_path_factory))
    numbers = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--tiny", "--budget", "1000", "--out", str(numbers)])
    gpu.main()
    table = capsys.readouterr().out
    assert "FAILED" not in table and "left out" not in table
    found = json.loads(numbers.read_text())
    assert {key.partition(":")[0] for key in found} >= {"fit", "bare loop", "sampling", "Inception", "bits/dim"}
    assert found["agreement: Simple, eps"] == {"loss": 0.0, "gradient": 0.0}
    assert all(value.startswith("resumed run: equal bit by bit") for key, value in found.items() if "resume" in key)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "fits"], "--only: no part fits; choose from agreement"),
        (["--device", "cuda"], "no CUDA device found; try the script with --device cpu --tiny"),
    ],
)
def test_mistakes(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main()
    assert message in capsys.readouterr().err
