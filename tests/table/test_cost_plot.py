"""`lit-diffusion table --plot`: a score against evaluations of the network."""

import math

import pytest

from lit_diffusion.errors import ConfigError
from lit_diffusion.table.command import main
from lit_diffusion.table.cost_plot import make_curves
from lit_diffusion.table.layout_file import read_layout
from lit_diffusion.table.runs import find_runs
from lit_diffusion.table.table import make_table
from tests.table.table_made import put, score, summary

SAMPLER, STEPS, SPACING = "model.sampler", "model.sampler.steps", "model.sampler.spacing"


@pytest.fixture
def runs(tmp_path):
    """Two seeds of two samplers, one of them with two spacings, in 5 and 10 steps; Heun in 9 and 19 evaluations."""
    folder = tmp_path / "runs"
    for number, (sampler, spacing, factor) in enumerate(
        [("AncestralSampler", "uniform", 1), ("HeunSampler", "uniform", 2), ("HeunSampler", "log_snr", 2)]
    ):
        for steps in (10, 5):
            for seed in (0, 1):
                fid = score("fid", 100 * number + steps + seed, nfe=factor * steps - (factor - 1), sampler=sampler)
                settings = {SAMPLER: sampler, STEPS: steps, SPACING: spacing}
                put(folder / f"{number}-{steps}-{seed}", summary(seed, settings=settings, scores={"fid": fid}))
    return folder


def test_a_curve_for_each_sampler_and_spacing_with_the_means_and_deviations_of_the_seeds(runs):
    found = find_runs([str(runs)], print)
    curves = make_curves(make_table(read_layout("samplers"), found, []).rows, "fid")
    points = {(curve.family, curve.kind): curve.points for curve in curves}
    deviation = pytest.approx(math.sqrt(0.5))
    assert points == {
        ("AncestralSampler", "uniform"): [(5, 5.5, deviation), (10, 10.5, deviation)],
        ("HeunSampler", "log_snr"): [(9, 205.5, deviation), (19, 210.5, deviation)],
        ("HeunSampler", "uniform"): [(9, 105.5, deviation), (19, 110.5, deviation)],
    }


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")], ids=lambda one: str(one)[:3]
)
def test_the_plot_is_a_file_next_to_the_table(suffix, start, runs, tmp_path, capsys):
    file = tmp_path / f"plot.{suffix}"
    main([str(runs), "--layout", "samplers", "--out", str(tmp_path / "table.md"), "--plot", str(file)])
    assert file.read_bytes().startswith(start) and "HeunSampler" in (tmp_path / "table.md").read_text()
    assert f"{file}: 3 curves, 6 points" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plot.jpeg", "^--plot: expected a file that ends in .png, .svg, .pdf, got "),
        ("nowhere/plot.png", "^--plot: no folder "),
        ("runs", "^--plot: expected a file, got the folder "),
    ],
)
def test_files_that_cannot_be_are_refused(name, words, runs, tmp_path):
    with pytest.raises(ConfigError, match=words):
        main([str(runs), "--plot", str(tmp_path / name)])


def test_runs_without_evaluations_are_refused(tmp_path):
    put(tmp_path / "runs/one", summary(scores={"bits_per_dim/test": 3.0}))
    with pytest.raises(ConfigError, match="^--plot: no run has a score that says how often a sample evaluates"):
        main([str(tmp_path / "runs"), "--plot", str(tmp_path / "plot.png")])
