"""What the numbers of a table are: seeds, statuses, the best, and what does not compare."""

import pytest

from tests.experiments.table_made import layout, printed, put, rows, score, summary

FID = "columns: [{score: fid, digits: 2}]\n"
SIMPLE = FID + "rows: [{label: simple, where: {model.objective: Simple}}]"
BY_STEPS = FID + "rows: {by: [trainer.max_steps]}"


@pytest.fixture
def table(tmp_path, capsys):
    """Rows and everything below, in Markdown, and stderr."""

    def make(text=None, *arguments):
        chosen = ["--layout", layout(tmp_path, text)] if text else []
        out, err = printed(capsys, tmp_path / "runs", *chosen, *arguments, "--format", "markdown")
        return rows(out), out, err

    return make


@pytest.fixture
def run(tmp_path):
    return lambda name, time=None, **content: put(tmp_path / "runs" / name, summary(**content), time)


def test_several_seeds_make_a_mean_and_a_sample_standard_deviation(run, table):
    """8, 9 and 11: the mean is 28 / 3, the squared deviations are 16/9, 1/9 and 25/9, their sum by 2 is 7/3."""
    for seed, value in enumerate((8, 9, 11)):
        run(f"s{seed}", seed=seed, scores={"fid": score("fid", value, 5.0)}, settings={"run.name": f"s{seed}"})
    found, out, err = table(SIMPLE)
    assert found == [["simple", "**9.33±1.53**"]]
    assert "- mean ± standard deviation over 3 seeds" in out and not err


def test_one_seed_has_the_spread_of_its_score(run, table):
    run("a", scores={"fid": score("fid", 8, 0.25)})
    assert table(SIMPLE)[0] == [["simple", "**8.00±0.25**"]]


def test_a_diverged_seed_is_left_out_of_the_mean_and_named(run, table):
    for seed, value in enumerate((8, None, 10)):
        run(f"s{seed}", seed=seed, scores={"fid": value})
    found, out, _ = table(SIMPLE)
    assert found == [["simple", "**9.00±1.41**"]]
    assert "mean ± standard deviation over 2 seeds" in out and "simple: 1 of 3 seeds diverged" in out


@pytest.mark.parametrize(
    "content, shown",
    [
        ({"status": "finished", "scores": {"fid": 8.0}}, "**8.00**"),
        ({"status": "finished", "scores": {"fid": None}}, "—"),
        ({"status": "finished", "scores": {"fid": float("nan")}}, "—"),
        ({"status": "diverged", "scores": {"fid": 8.0}}, "—"),
        ({"status": "running", "scores": {"fid": 8.0}}, "running"),
        ({"status": "failed", "scores": {"fid": 8.0}}, "failed"),
        ({"status": "finished", "scores": {"kid": 8.0}}, "no score"),
        ({"settings": {"model.objective": "Hybrid"}}, "missing"),
    ],
)
def test_every_status_has_its_word(run, table, content, shown):
    """What a run that is no more, or not yet, has scored on the way is never shown."""
    run("a", **content)
    assert table(SIMPLE)[0] == [["simple", shown]]


def test_a_score_in_brackets_may_be_absent(run, table):
    run("a", scores={"fid": 8.0})
    text = "columns: [{score: fid, with: fid/test, digits: 1}, {score: kid, with: fid, digits: 1}]\n"
    found, *_ = table(text + "rows: [{label: simple, where: {model.objective: Simple}}]")
    assert found == [["simple", "**8.0 (no score)**", "no score (8.0)"]]


def test_the_best_of_each_column_is_bold_in_its_direction(run, table):
    """The lowest FID, the highest IS, nothing where best is null; equal ones are both best."""
    for steps, fid, other in ((1, 5, 3), (2, 4, 3), (3, 4, 2)):
        run(str(steps), settings={"trainer.max_steps": steps}, scores={"fid": fid, "inception_score": other, "kid": 1})
    columns = (
        "columns: [{score: fid, digits: 0}, {score: inception_score, digits: 0}, {score: kid, best: null, digits: 0}]"
    )
    found, *_ = table(f"{columns}\nrows: {{by: [trainer.max_steps]}}")
    assert found == [["1", "5", "**3**", "1"], ["2", "**4**", "**3**", "1"], ["3", "**4**", "2", "1"]]


def test_different_experiments_in_one_row_are_never_averaged(run, table):
    """Each gets a row that says in what it differs, and a warning does."""
    run("a", settings={"model.sampler.steps": 50}, scores={"fid": 8.0})
    run("b", settings={"model.sampler.steps": 100}, scores={"fid": 6.0})
    found, out, err = table(SIMPLE)
    assert found == [["simple", "steps = 50", "8.00"], ["simple", "steps = 100", "**6.00**"]]
    warning = "simple: 2 different experiments match this row and are not averaged; they differ in model.sampler.steps"
    assert f"- warning: {warning}\n" in out and f"warning: {warning}\n" in err


def test_what_is_drawn_and_where_files_go_makes_no_other_experiment(run, table):
    run(
        "a",
        seed=0,
        settings={"run.dir": "x", "grids.every_n_steps": 1, "trainer.logger.project": "p"},
        scores={"fid": 8},
    )
    run("b", seed=1, settings={"run.dir": "y", "grids.every_n_steps": 2}, scores={"fid": 10})
    assert table(SIMPLE)[0] == [["simple", "**9.00±1.41**"]]


def test_of_the_same_settings_and_seed_the_newest_counts(run, table):
    run("old", time=1000, scores={"fid": 8.0})
    run("new", time=2000, scores={"fid": 6.0})
    found, _, err = table(SIMPLE)
    assert found == [["simple", "**6.00**"]]
    assert "old has the settings and the seed of" in err and "new, which is newer and counts" in err


def test_a_run_without_settings_matches_nothing(run, table, tmp_path):
    old = summary(scores={"fid": 8.0})
    del old["settings"]
    put(tmp_path / "runs" / "old", old)
    found, _, err = table(SIMPLE)
    assert found == [["simple", "missing"]] and "old: its summary has no settings" in err


def test_experiments_that_no_row_takes_are_counted(run, table):
    run("a", settings={"model.objective": "Hybrid"})
    assert "1 of 1 experiments match no row of this table: " in table(SIMPLE)[2]


def test_where_takes_lists_and_numbers_as_yaml_writes_them(run, table):
    """1e-4 is a text for YAML; a value may be one of several, or itself a list."""
    run("a", settings={"lr": 0.0001, "data.flip": True, "multipliers": [1, 2]}, scores={"fid": 1})
    cases = ["lr: 1e-4", "lr: [3, 1e-4]", "data.flip: true", "multipliers: [1, 2]", "data.flip: 1", "absent: null"]
    text = "\n".join(f"- {{label: '{number}', where: {{{case}}}}}" for number, case in enumerate(cases))
    found, *_ = table(f"{FID}rows:\n{text}")
    assert [cell for _, cell in found] == ["**1.00**"] * 4 + ["missing", "**1.00**"]


def test_automatic_rows_are_ordered_by_their_values(run, table):
    """Numbers as numbers, null last, under the names of the layout."""
    for steps in (100, 20, None, 3):
        run(f"r{steps}", settings={"model.sampler.steps": steps}, scores={"fid": 1000 - (steps or 1000)})
    found, out, _ = table(FID + "rows: {by: [{key: model.sampler.steps, title: nfe, names: {null: all}}]}")
    assert [row[0] for row in found] == ["3", "20", "100", "all"] and "| nfe | FID |" in out


def test_without_a_layout_rows_are_what_differs_and_columns_what_is_there(run, table):
    """Options that come with a class are no rows of their own."""
    hybrid = {"model.objective": "Hybrid", "model.objective.weight": 0.001}
    bound = {"bits_per_dim/test": 2.9, "bits_per_dim/train": 2.8}
    run("a", seed=0, scores={"fid": 8.0, "mine": 1, **bound}, settings={"run.name": "a"})
    run("b", seed=0, scores={"fid": 9.0, "mine": 2, **bound}, settings={"run.name": "b", **hybrid})
    found, out, _ = table()
    assert "| objective | FID | NLL test (train) | mine |" in out
    assert [row[0] for row in found] == ["Hybrid", "Simple"] and found[1][1:3] == ["**8.00**", "**≤2.900 (2.800)**"]


def test_without_a_layout_one_experiment_is_one_row(run, table, tmp_path):
    run("a", scores={"fid": 8.0})
    assert table()[0] == [[str(tmp_path / "runs" / "a"), "**8.00**"]]


def test_rows_that_differ_in_how_they_were_measured_are_warned_about(run, table):
    """What a setting that makes the rows explains is not, nor are seeds and steps."""
    run("a", settings={"trainer.max_steps": 1}, scores={"fid": score("fid", 8, samples=5000, seed=7, step=1)})
    run("b", settings={"trainer.max_steps": 2}, scores={"fid": score("fid", 9)})
    _, out, err = table(BY_STEPS)
    assert "warning: rows do not compare in FID: samples is 5000 in 1, 1000 in 2" in err and "seed" not in err
    assert "FID: AncestralSampler in 1000 steps" in out


@pytest.mark.parametrize("key, warned", [("model.sampler", False), ("trainer.max_steps", True)])
def test_a_table_of_samplers_may_differ_in_sampler_and_steps(run, table, key, warned):
    run("a", settings={key: "a"}, scores={"fid": score("fid", 8)})
    run("b", settings={key: "b"}, scores={"fid": score("fid", 8, sampler="DDIMSampler", nfe=50, steps=50, eta=0.0)})
    assert ("do not compare" in table(f"{FID}rows: {{by: [{key}]}}")[2]) is warned


def test_numbers_that_were_measured_as_the_papers_compare_with_it(run, table):
    """And the note that they do not is not there."""
    theirs = {"features": "inception-v3-compat", "samples": 50000}
    run("a", settings={"data": "CIFAR10"}, scores={"fid": score("fid", 3.3, **theirs)})
    columns = "columns: [{score: fid}, {score: fid, paper: true}]\n"
    row = "rows: [{label: simple, where: {model.objective: Simple}, paper: ddpm/epsilon_simple}]"
    found, out, _ = table(columns + row)
    assert found == [["simple", "**3.30**", "3.17"]] and "do not compare" not in out and "Ho, Jain" in out
