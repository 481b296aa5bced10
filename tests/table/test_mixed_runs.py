"""A folder of different experiments, as they come: what a person sees of it at the width of a terminal."""

import io
import re

import pytest
from rich.console import Console

from lit_diffusion.table.command import main, make_tables
from lit_diffusion.table.rows import format_setting
from lit_diffusion.table.runs import find_runs
from lit_diffusion.table.terminal import print_table
from tests.table.table_made import printed, put, rows, score, summary

POINTS = {
    "data": "SwissRoll",
    "data.noise": 0.02,
    "model.reverse.network": "VectorMLP",
    "model.reverse.network.frequencies": [1, 2, 4],
    "model.reverse.variance": "LearnedDiagonal",
    "model.reverse.clip_x_0": False,
    "model.objective": "VariationalBound",
    "trainer.max_steps": 25000,
}
BITS = {
    "data": "Heartbeat",
    "model.reverse": "BernoulliReverse",
    "model.objective": "VariationalBound",
    "trainer.max_steps": 8000,
    "trainer.callbacks": [{"class_path": "my.Stop", "init_args": {"patience": 3}}],
}
IMAGES = {
    "inception_score": score("inception_score", 9.157, 0.149),
    "fid": 8.863,
    "kid": score("kid", -3.0, 37.2),
    "precision": 0.741,
    "recall": 0.92,
    "bits_per_dim/test": score("bits_per_dim/test", 2.874, 0.019),
    "bits_per_dim/train": score("bits_per_dim/train", 2.821, 0.007),
}
LIKELIHOOD = {"K": score("K", -1.95, 0.01), "L_null": score("L_null", -4.09, 0.03)}
DIFFERENT = {
    "simple": {},
    "hybrid": {"model.objective": "Hybrid", "model.objective.weight": 0.001, "model.reverse.variance": "LearnedRange"},
    "bound": {"model.objective": "VariationalBound", "model.objective.weighting": None},
    "cosine": {"model.reverse.process.schedule": "CosineSchedule", "ema.decay": 0.9999},
    "wide": {"model.reverse.network.multipliers": [1, 2, 2], "model.reverse.network.attention_levels": []},
}


@pytest.fixture
def mixed(tmp_path):
    """Digits with two seeds, a sweep of objectives, one diverged; points; bits."""
    folder = tmp_path / "runs"
    network = {"model.reverse.network.multipliers": [1, 1], "model.reverse.network.attention_levels": [1]}
    for name, settings in DIFFERENT.items():
        put(folder / "objectives" / name, summary(settings={**network, "ema.decay": 0.995, **settings}, scores=IMAGES))
    again = summary(seed=1, settings={**network, "ema.decay": 0.995}, scores={**IMAGES, "fid": 9.1})
    put(folder / "objectives" / "simple-seed1", again)
    fast = {**network, "ema.decay": 0.995, "model.optimizer.lr": 1.0}
    put(folder / "fast", summary(status="diverged", reason="the loss is nan at step 3", settings=fast))
    put(folder / "roll", summary(settings=POINTS, scores=LIKELIHOOD))
    put(folder / "beat", summary(settings=BITS, scores=LIKELIHOOD))
    return folder


def shown(folder, width):
    """The tables of a terminal of that width, as text."""
    runs = find_runs([str(folder)], print)
    for table in make_tables(None, runs, []):
        file = io.StringIO()
        print_table(table, Console(file=file, width=width, force_terminal=True, color_system=None))
        yield file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_each_data_set_has_a_table_within_the_width_whose_rows_have_the_names_of_their_runs(mixed, width):
    digits, bits, points = sorted(shown(mixed, width), key=lambda text: text.splitlines()[0])[:1] + [
        text for text in shown(mixed, width) if not text.startswith("Digits")
    ]
    assert all(len(line.rstrip()) <= width for text in (digits, bits, points) for line in text.splitlines())
    head, body = digits.partition("no room")[0].split("run ", 1)
    table = [line for line in body.splitlines()[1:] if re.match(r"\w", line)]
    assert sorted(line.split()[0] for line in table) == ["bound", "cosine", "fast", "hybrid", "simple", "wide"]
    assert len(body.splitlines()) <= 2 * len(table) + 2  # no cell has more than two lines
    numbers = "9.16±0.15", "≤2.874±0.019", "8.86"
    assert all(number in body for number in numbers) and "K - L_null" not in head
    assert points.startswith("SwissRoll") and bits.startswith("Heartbeat")
    assert "IS" not in points.split("\n")[1].split() and "-1.95" in points


@pytest.mark.parametrize("width", [80, 120])
def test_what_has_no_column_is_said_below(mixed, width):
    """Every setting in which rows differ is a column or a line."""
    digits = next(text for text in shown(mixed, width) if text.startswith("Digits"))
    head, said = digits[: digits.index("simple ")], " ".join(digits.split())
    lines = {
        "objective": "model.objective: Hybrid in hybrid",
        "schedule": "model.reverse.process.schedule: ",
        "variance": "model.reverse.variance: LearnedRange in hybrid, BetaVariance in ",
        "multipliers": "model.reverse.network.multipliers: 1, 1 in ",
        "attention_levels": "model.reverse.network.attention_levels: 1 in ",
        "decay": "ema.decay: 0.995 in ",
        "lr": "model.optimizer.lr: ",
    }
    for name, line in lines.items():
        assert (name in head.split()) != (f"rows also differ in {line}" in said), name
    assert "0.9999 in cosine" in said and "none in wide" in said
    assert "simple: mean ± standard deviation over 2 seeds" in said
    assert "fast diverged: the loss is nan at step 3" in said


def test_nothing_of_python_or_yaml_is_in_a_cell(mixed, capsys):
    for form in ("terminal", "markdown", "latex", "csv"):
        out, _ = printed(capsys, mixed, "--format", form)
        assert not re.search(r"True|False|None\b|(?<!_)null|class_path|\[1|\['|\{'", out)


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "none"),
        ([], "none"),
        (True, "true"),
        (1e-4, "0.0001"),
        ([1, 2.5, "a"], "1, 2.5, a"),
        ([{"class_path": "my.package.Stop", "init_args": {"patience": 3}}, {"class_path": "Other"}], "Stop, Other"),
        ({"train": 1, "test": None}, "train 1, test none"),
    ],
)
def test_settings_are_names_of_classes_numbers_and_words(value, text):
    assert format_setting(value) == text


def test_csv_has_all_settings_and_all_scores_in_one_table(mixed, tmp_path, capsys):
    out, _ = printed(capsys, mixed, "--format", "csv")
    head = out.splitlines()[0].split(",")
    assert {"data", "objective", "multipliers", "callbacks", "decay", "fid", "K"} <= {*head}
    assert len(out.splitlines()) == 1 + 8


def test_a_file_has_all_tables(mixed, tmp_path, capsys):
    main([str(mixed), "--out", str(tmp_path / "all.md")])
    assert capsys.readouterr().out == f"{tmp_path}/all.md: 8 rows, markdown\n"
    text = (tmp_path / "all.md").read_text()
    assert re.findall(r"^\*\*(\w+)\*\*$", text, re.MULTILINE) == [
        "Heartbeat",
        "Digits",
        "SwissRoll",
    ]
    assert rows(text.split("**SwissRoll**")[1])[0][0] == "roll"


def test_runs_of_one_name_in_several_folders_are_distinguished(tmp_path, capsys):
    for number, settings in enumerate(DIFFERENT.values()):
        put(tmp_path / "runs" / f"sweep{number}" / "here", summary(settings=settings, scores={"fid": 1.0}))
    out, _ = printed(capsys, tmp_path / "runs", "--format", "markdown")
    assert sorted(row[0] for row in rows(out)) == [f"sweep{number}/here" for number in range(5)]


def test_runs_that_differ_in_little_have_a_column_for_each_setting(tmp_path, capsys):
    """Also if one of these is the data."""
    for name, settings in (("a", {}), ("b", {"data": "MNIST", "model.objective": "Hybrid"})):
        put(tmp_path / name, summary(settings=settings, scores={"fid": 1.0}))
    out, _ = printed(capsys, tmp_path, "--format", "markdown")
    assert out.startswith("| objective | data | FID |")
