"""What a page shows, and that nothing in run folders becomes markup."""

import base64
import hashlib
import json
import math
import re

import pytest

from lit_diffusion.errors import ConfigError
from lit_diffusion.report.page import SCRIPTS, encode_json, read_asset
from tests.report.report_made import HOSTILE, Elements, make_report, put_run
from tests.table.table_made import summary


def of_model(objective, seed=0):
    return {"seed": seed, "settings": {"model.objective": objective}}


@pytest.fixture
def runs(tmp_path):
    """Two experiments, one with two seeds; a diverged and a running one."""
    folder = tmp_path / "runs"
    for seed in (0, 1):
        put_run(folder / f"simple-{seed}", **of_model("Simple", seed))
    put_run(folder / "bound", **of_model("VariationalBound"))
    put_run(folder / "bad", status="diverged", reason="the loss is nan at step 12", **of_model("Hybrid"))
    put_run(folder / "now", status="running", steps=60, **of_model("Other"))
    return folder


def test_the_page_shows_scores_curves_pictures_settings_and_what_became_of_runs(runs, tmp_path):
    page = Elements(make_report(runs, out=tmp_path / "report.html"))
    assert "5 runs" in page.text and "the loss is nan at step 12" in page.text
    titles = [chart["title"] for chart in page.data["charts"]]
    assert titles == ["loss", "images/s", "bits/dim by step, test", "rate and distortion, test"]
    loss = {run: (x, y) for run, x, y, *_ in page.data["charts"][0]["curves"]}
    assert len(loss) == 5
    names = [run["name"] for run in page.data["runs"]]
    steps, values = loss[names.index("Other, seed 0")]
    assert steps == list(range(60)) and values[3] == 1.0
    step, rate = (chart["curves"][0] for chart in page.data["charts"][2:])
    assert step[1] == list(range(2, 11)) and step[2][0] == 0.25, "L_0 is not a term of a step"
    assert rate[1][-1] == 3.0 and rate[2][-1] == 10
    shown = page.data["shown"]["samples"]["0"]
    assert [step for step, _ in shown] == [50, 100]
    last = [one for one in page.named("img") if one["data-picture"] == str(shown[-1][1])]
    assert last and page.data["pictures"][shown[-1][1]] is None, "each picture is in the page once"
    assert "VariationalBound" in page.text and f"lightning fit -c {runs}/bound/config.yaml" in page.text
    seeds = [one["name"] for one in page.data["runs"] if one["name"].startswith("Simple")]
    assert seeds == ["Simple, seed 0", "Simple, seed 1"]


def test_protocols_are_said_once_and_each_score_adds_its_own(runs, tmp_path):
    page = Elements(make_report(runs, out=tmp_path / "report.html"))
    one = next(one for one in page.data["protocols"] if one["name"] == "Simple")
    fid = next(score for score in one["scores"] if score["title"] == "FID")
    assert fid["numbers"] == [["seed 0", "12.5000"], ["seed 1", "12.5000"]]
    assert ["reference", "Digits:train, 1500 images"] in fid["fields"]


def test_the_layout_is_that_of_the_folders_name_or_of_the_option(tmp_path):
    settings = {"model.reverse.parameterization": "Epsilon", "model.objective": "Simple", "data": "Digits"}
    put_run(tmp_path / "table2/one", settings=settings)
    assert "7.67" in make_report(tmp_path / "table2", out=tmp_path / "a.html"), "the paper's row"
    assert "7.67" not in make_report(tmp_path / "table2/one", out=tmp_path / "b.html")
    assert "7.67" in make_report(tmp_path / "table2/one", "--layout=table2", out=tmp_path / "c.html")


def test_only_our_scripts_and_our_style_may_run_and_nothing_may_be_loaded(runs, tmp_path):
    """The policy has the hash of each script but the data, and no other source than pictures within the file."""
    page = Elements(make_report(runs, out=tmp_path / "report.html"))
    policy = next(one["content"] for one in page.named("meta") if one.get("http-equiv") == "Content-Security-Policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}

    def hashed(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["script-src"] == [hashed(read_asset(name)) for name in SCRIPTS] == list(map(hashed, page.scripts[1:]))
    assert rules["style-src"] == list(map(hashed, page.styles))
    assert rules["default-src"] == ["'none'"] and rules["img-src"] == ["data:"]
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")]
        for name in ("src", "href"):
            assert re.match(r"#|data:image/webp;base64,", attributes.get(name) or "#")


def test_hostile_texts_stay_texts_and_huge_ones_are_cut(tmp_path):
    """In every text of a summary, in names of folders, columns, terms, files and logs."""
    huge, runs = "x" * 10**6, tmp_path / "runs"
    name = HOSTILE.replace("/", "|")[:120]
    more = {"git": HOSTILE, "versions": {HOSTILE: HOSTILE}, "working_folder": huge, "seconds": {HOSTILE: 3.0}}
    scores = {"fid": {"value": 1.0, "protocol": {HOSTILE: HOSTILE, "huge": huge}}, HOSTILE: 2.0}
    for number, value in enumerate((HOSTILE, huge)):
        settings = {"model.objective": value, HOSTILE: number}
        run = put_run(runs / f"{name}{number}", settings=settings, scores=scores, **more)
        (run / "metrics.csv").write_text(f'"{HOSTILE.replace(chr(34), chr(34) * 2)}",train/loss,step\n1,1,1\n2,2,2\n')
        terms = {HOSTILE: {"value": 1.0}, "huge" + huge: {"value": 2}}
        (run / "bits_per_dim/test.json").write_text(json.dumps(terms))
    put_run(runs / "failed", status="failed", reason=HOSTILE)
    (runs / "logs").mkdir()
    (runs / f"logs/{name}.log").write_text(f"\x1b[31m{HOSTILE}\n")
    html = make_report(runs, out=tmp_path / "report.html")
    page = Elements(html)
    assert len(html) < 400_000
    assert len(page.scripts) == len(SCRIPTS) + 1 and "owned" in page.text
    assert all((one.get("src") or "").startswith("data:image/webp") for one in page.named("img"))
    assert "\x1b" not in html and not [one for _, one in page.found if "onerror" in one]


def test_the_best_numbers_are_marked_where_there_is_a_choice(runs, tmp_path):
    several = make_report(runs, out=tmp_path / "a.html")
    assert "<strong>12.50</strong>" in several and "<strong>12.50" not in make_report(
        runs / "bound", out=tmp_path / "b.html"
    )
    assert "<h1>runs</h1>" in several
    assert "<h1>bad, now</h1>" in make_report(runs / "bad", runs / "now", out=tmp_path / "c.html")


def test_json_in_the_page_has_no_markup_and_no_number_that_json_lacks():
    text = encode_json({HOSTILE: [HOSTILE, "&amp;", 1.5, None]})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {HOSTILE: [HOSTILE, "&amp;", 1.5, None]}
    with pytest.raises(ValueError):
        encode_json([math.nan])


@pytest.mark.parametrize("status", ["running", "failed", "diverged"])
def test_a_report_of_runs_without_scores_is_a_page(tmp_path, status):
    put_run(tmp_path / "runs/one", status=status, steps=5, pictures=False, reason="because")
    page = Elements(make_report(tmp_path / "runs", out=tmp_path / "report.html"))
    assert f"1 {status}" in page.text and "because" in page.text


def test_runs_without_settings_have_no_table_and_all_else(tmp_path):
    put_run(tmp_path / "runs/old", content={**summary(), "settings": None})
    page = Elements(make_report(tmp_path / "runs", out=tmp_path / "report.html"))
    assert "no summary has the settings that make the rows" in page.text
    assert page.data["charts"] and page.named("img")


def test_a_report_of_no_runs_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, message in (("empty", "no run"), ("nowhere", "no such folder")):
        with pytest.raises(ConfigError, match=message):
            make_report(tmp_path / folder, out=tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_report_of_damaged_summaries_says_what_is_wrong_with_each(tmp_path):
    put_run(tmp_path / "runs/one", content='{"scores": ')
    put_run(tmp_path / "runs/two", content="{}")
    page = Elements(make_report(tmp_path / "runs", out=tmp_path / "report.html"))
    for line in ("0 runs", "one/summary.json is damaged", "two/summary.json is not the summary of a run"):
        assert line in page.text, line
    assert "repeat" not in page.text


def test_what_is_damaged_next_to_good_runs_is_said(tmp_path):
    put_run(tmp_path / "runs/good")
    put_run(tmp_path / "runs/damaged", content="{}")
    run = put_run(tmp_path / "runs/odd", settings={"model.objective": "Odd"})
    (run / "metrics.csv").write_text("train/loss,step\n1,1\nnan,2\ninf,3\n2,4\n3,5,6\nx,7\n4,8\n5,")
    (run / "samples/data.png").write_bytes(b"\x89PNG")
    (run / "bits_per_dim/test.csv").write_text("first,last\n1")
    page = Elements(make_report(tmp_path / "runs", out=tmp_path / "report.html"))
    for line in (
        "damaged/summary.json is not the summary of a run",
        "its last line is cut off",
        "2 lines or cells are not numbers",
        "train/loss is not a finite number 2 times, first at step 2",
        "samples/data.png: cannot be read as a picture",
        "bits_per_dim/test: damaged",
    ):
        assert line in page.text, line
    number = next(n for n, run in enumerate(page.data["runs"]) if run["name"].startswith("Odd"))
    curve = next(one for one in page.data["charts"][0]["curves"] if one[0] == number)
    assert curve[1:3] == [[1, 4, 8], [1.0, 2.0, 4.0]]


def test_cells_of_a_sweep_without_a_run_are_listed(tmp_path):
    put_run(tmp_path / "runs/one")
    (tmp_path / "runs/logs").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / f"runs/logs/{name}.log").write_text("step 5\nit failed\n" if name == "two" else "")
    page = Elements(make_report(tmp_path / "runs", out=tmp_path / "report.html"))
    assert "two: no run yet; its log ends with: it failed" in page.text
    assert "three: no run yet; its log is empty" in page.text and "one: no run" not in page.text
