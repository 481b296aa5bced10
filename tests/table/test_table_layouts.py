"""The shipped layouts, against the real configurations and the paper."""

from pathlib import Path

import pytest
import yaml

from lit_diffusion import data, diffusion
from lit_diffusion.config.keys import flatten
from lit_diffusion.table.known_scores import is_known, load_paper_rows
from lit_diffusion.table.layout import Automatic, Heading, Row
from lit_diffusion.table.layout_file import list_layouts, read_layout
from tests.table.table_made import printed, put, rows, score, summary

CONFIGS = Path(__file__).parent.parent.parent / "configs"
DEFAULTS = {  # settings that a configuration gets from the classes that it names
    "model.objective.weighting",
    "model.objective.timesteps",
    "model.sampler.guidance_scale",
    "model.sampler.steps",
}


@pytest.fixture(scope="module")
def settings():
    """Every setting of every shipped file, and all values that stand there."""
    values = {}
    for path in CONFIGS.rglob("*.yaml"):
        for key, value in flatten(yaml.safe_load(path.read_text())).items():
            values.setdefault(key, []).append(value)
    return values


def test_all_are_shipped():
    assert list_layouts() == [
        *("dpm2015", "families", "guidance", "objectives", "samplers", "schedules", "table1", "table2"),
    ]


@pytest.mark.parametrize("name", list_layouts())
def test_every_setting_of_a_layout_exists_and_every_class_is_ours(name, settings):
    layout = read_layout(name)
    automatic = isinstance(layout.rows, Automatic)
    wheres = [layout.rows.where] if automatic else [row.where for row in layout.rows if isinstance(row, Row)]
    keys = [key.key for key in layout.rows.by] if automatic else [key for where in wheres for key in where or ()]
    assert keys and set(keys) <= settings.keys() | DEFAULTS
    for key, value in (item for where in wheres for item in (where or {}).items()):
        for one in value if isinstance(value, list) else [value]:
            assert one in settings.get(key, []) or hasattr(diffusion, str(one)) or hasattr(data, str(one)), (
                f"{key}: {one}"
            )
    assert all(is_known(score) for score in layout.scores)


def test_table_2_has_the_papers_six_rows_as_it_prints_them(tmp_path, capsys):
    """Whatever the runs are."""
    put(tmp_path / "a", summary())
    found = rows(printed(capsys, tmp_path, "--layout", "table2", "--format", "markdown").out)
    assert [(row[2], row[4]) for row in found if row[1:] != [""] * 5] == [
        ("7.28±0.10", "23.69"),
        ("8.06±0.09", "13.22"),
        ("—", "—"),
        ("—", "—"),
        ("7.67±0.13", "13.51"),
        ("9.46±0.11", "3.17"),
    ]


@pytest.mark.parametrize("parameterization, first", [("PosteriorMean", 0), ("Epsilon", 3)])
def test_every_cell_of_table_2_finds_its_run(tmp_path, capsys, parameterization, first):
    cells = [
        ("VariationalBound", "LearnedDiagonal"),
        ("VariationalBound", "PosteriorVariance"),
        ("Simple", "BetaVariance"),
    ]
    for number, (objective, variance) in enumerate(cells):
        settings = {"model.objective": objective, "model.reverse.variance": variance,
                    "model.reverse.parameterization": parameterization}  # fmt: skip
        put(tmp_path / str(number), summary(settings=settings, scores={"fid": number + 1.0}))
    found = rows(printed(capsys, tmp_path, "--layout", "table2", "--format", "markdown").out)
    expected = ["missing"] * 6
    expected[first : first + 3] = ["**1.00**", "2.00", "3.00"]
    assert [row[3] for row in found if row[1:] != [""] * 5] == expected


def test_table_1_tells_the_papers_rows_from_this_codes_numbers(tmp_path, capsys):
    """Digits are not its experiment, CIFAR10 is."""
    put(tmp_path / "digits", summary(scores={"fid": 9.0}))
    put(tmp_path / "cifar10", summary(scores={"fid": 3.3, "bits_per_dim/test": 3.76}, settings={"data": "CIFAR10"}))
    out, err = printed(capsys, tmp_path, "--layout", "table1", "--format", "markdown")
    found = {row[0]: row[1:] for row in rows(out)}
    ours = found['DDPM, in the paper "Ours (L_simple)"']
    assert ours == ["no score", "9.46±0.11", "**3.30**", "3.17", "**≤3.76 (no score)**", "≤3.75 (3.72)"]
    assert found["Gated PixelCNN"] == ["", "4.60", "", "65.93", "", "3.03 (2.90)"]
    assert found["Diffusion (original)"][-1] == "≤5.40" and "1 of 2 experiments match no row" in err


def test_every_row_of_the_paper_stands_in_a_table():
    layouts = [read_layout(name) for name in ("table1", "table2", "dpm2015")]
    used = {row.paper for layout in layouts for row in layout.rows if not isinstance(row, Heading)}
    assert used - {None} == load_paper_rows().keys()


def test_parzen_windows_stand_next_to_the_papers_with_what_they_must_not_be_taken_for(tmp_path, capsys):
    """Seeds are averaged, each with the sigma that is best for its samples; of 10,000 samples they compare."""
    protocol = {"window": "Gaussian", "samples": 10_000, "unit": "bits/image", "sigma_from": "the last 10"}
    for seed, (value, sigma) in enumerate([(310.0, 0.158), (320.0, 0.126)]):
        own = score("parzen_log_likelihood", value, 2.0, **protocol, sigma=sigma)
        put(tmp_path / str(seed), summary(seed, scores={"parzen_log_likelihood": own}, settings={"data": "MNIST"}))
    out, err = printed(capsys, tmp_path, "--layout", "dpm2015", "--format", "markdown")
    found = {row[0]: row[1:] for row in rows(out)}
    assert found["Diffusion"][-2:] == ["315.0±7.1", "317±2.7"] and found["Perfect model"][-2:] == ["", "349±3.3"]
    assert "Parzen: bits/image; Gaussian windows on 10000 samples" in out and "do not compare" not in out + err
    assert "Parzen: in many dimensions it is far from the likelihood" in out
    assert "many dimensions" not in printed(capsys, tmp_path, "--layout", "table1", "--format", "markdown").out


def test_rows_that_are_not_meant_to_be_compared_are_not_warned_of(tmp_path, capsys):
    """Different data in dpm2015; the same runs in a layout of one's own are."""
    put(tmp_path / "a", summary(scores={"K": -2.33}, settings={"data": "Heartbeat", "trainer.max_steps": 1}))
    put(tmp_path / "b", summary(scores={"K": 0.1}, settings={"data": "SwissRoll", "trainer.max_steps": 2}))
    out, err = printed(capsys, tmp_path, "--layout", "dpm2015", "--format", "markdown")
    found = {row[0]: row[1:] for row in rows(out)}
    assert found["Heartbeat"][:2] == ["-2.330", "-2.414"] and found["Swiss roll"][:2] == ["0.100", "2.35"]
    assert "warning" not in err and "trained differently" not in out
    (tmp_path / "own.yaml").write_text("columns: [K]\nrows: {by: [data]}")
    assert "trained differently" in printed(capsys, tmp_path, "--layout", str(tmp_path / "own.yaml"))[1]
