"""Runs on a page: names that tell them apart, what became of them, commands that work, parts of their bound."""

import json
import subprocess

import pytest

from lit_diffusion.report.run_view import quote
from tests.report.report_made import Elements, make_report, put_run
from tests.table.table_made import score, summary


def differing(data, value):
    """Settings in so many of which runs differ that their names are those of their folders, in a table by data."""
    return {"data": data, **{f"model.k{number}": value + number for number in range(5)}}


def test_no_two_lines_of_the_legend_have_one_name(tmp_path):
    runs = tmp_path / "runs"
    for number, (name, data) in enumerate((("a/h", "A"), ("b/i", "A"), ("c/h", "B"), ("d/i", "B"), ("e/i", "B"))):
        put_run(runs / name, settings=differing(data, number), pictures=False)
    put_run(runs / "f/h", content={**summary(), "settings": None}, pictures=False)
    page = Elements(make_report(runs, out=tmp_path / "report.html"))
    names = [run["name"].removesuffix(", seed 0") for run in page.data["runs"]]
    assert names == ["h, A", "i", "h, B", "d/i", "e/i", "f/h"]


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_run_that_ended_badly_is_a_problem_even_without_a_reason(tmp_path, status):
    put_run(tmp_path / "run", status=status, pictures=False)
    page = Elements(make_report(tmp_path / "run", out=tmp_path / "report.html"))
    assert "no reason was recorded" in page.text and {"href": "#problems"} in page.named("a")


@pytest.mark.parametrize(
    "name", ["plain", "my run", "it's", "two  spaces", "a\nb", "\x1b[31m\\x41 'é\u202e'", "\udcff1"]
)
def test_paths_are_quoted_on_one_line_so_that_a_shell_reads_them(name):
    quoted = quote(f"runs/{name}")
    assert quoted.isprintable() and " ".join(quoted.split()) == quoted
    read = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True).stdout
    assert read == f"runs/{name}".encode(errors="surrogateescape")


def test_commands_are_whole_however_long_the_path_is(tmp_path):
    run = put_run(tmp_path / ("<" * 200) / ("x\n" * 120), pictures=False)
    html = make_report(run, out=tmp_path / "report.html")
    assert f"lightning fit -c {quote(str(run / 'config.yaml'))}" in Elements(html).text
    assert "<<<" not in html


def test_losses_differ_in_what_the_table_of_settings_says(tmp_path):
    """What only one of two classes of models has is not named next to the class."""
    of_diffusion = {
        "model": "DiffusionModule",
        "model.objective": "Simple",
        "model.reverse.parameterization": "Epsilon",
    }
    put_run(tmp_path / "runs/a", settings=of_diffusion, pictures=False)
    put_run(tmp_path / "runs/b", settings={"model": "GANModule", "model.objective": None}, pictures=False)
    page = Elements(make_report(tmp_path / "runs", out=tmp_path / "report.html"))
    assert "losses do not compare: runs differ in model, model.objective " in page.text


def test_runs_whose_bounds_have_other_parts_are_in_other_tables(tmp_path):
    parts = {
        "a": {"total": 2.0, "L_0": 0.0, "rate": 2.00001},
        "b": {"total": 2.5, "L_0": 0.0, "rate": 2.5},
        "c": {"total": 3.0, "KL": 1.0, "rate": 1.0},
    }
    for number, (name, terms) in enumerate(parts.items()):
        run = put_run(tmp_path / "runs" / name, settings={"model.objective": f"O{number}"}, pictures=False)
        content = {term: {"value": value, "standard_error": None} for term, value in terms.items()}
        (run / "bits_per_dim/test.json").write_text(json.dumps(content))
    text = Elements(make_report(tmp_path / "runs", out=tmp_path / "report.html")).text
    bound = text.partition("Parts of the bound")[2].partition("Settings that differ")[0]
    assert " ".join(bound.split()) == (
        ", test, of O0 and 1 more: bits/dim ± standard error run total L_0 "
        "O0 seed 0 2 0 O1 seed 0 2.5 0 rate: equal to the total, to these digits "
        "Parts of the bound, test, of O2: bits/dim ± standard error run total KL rate O2 seed 0 3 1 1"
    )


def test_protocols_show_facts_with_the_digits_that_they_have(tmp_path):
    (tmp_path / "facts.yaml").write_text(
        "columns: [parameters, nfe, seconds_per_1000_samples]\nrows: [{label: all, where: {data: Digits}}]\n"
    )
    facts = {"parameters": 271649, "seconds_per_1000_samples": 0.00414}
    put_run(tmp_path / "runs/a", scores={"fid": score("fid", 9.0, nfe=1000)}, facts=facts, pictures=False)
    page = Elements(make_report(tmp_path / "runs", f"--layout={tmp_path}/facts.yaml", out=tmp_path / "report.html"))
    numbers = [one["numbers"] for one in page.data["protocols"][0]["scores"]]
    assert numbers == [[["seed 0", "271649"]], [["seed 0", "1000"]], [["seed 0", "0.004140"]]]
    assert "0.0041" in page.text
