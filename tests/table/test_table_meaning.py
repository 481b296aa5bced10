"""What the numbers of a table are: seeds, statuses, the best, and what does not compare."""

import pytest

from lit_diffusion.config.relevance import affects_scores
from tests.table.table_made import layout, printed, put, rows, score, summary

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
    """The cell of a run without a final score shows its status."""
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
    assert found == [["simple", "missing"]] and "old: its summary, of an old version, has no settings" in err


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
    """Options that come with a class do not get rows of their own."""
    hybrid = {"model.objective": "Hybrid", "model.objective.weight": 0.001}
    bound = {"bits_per_dim/test": 2.9, "bits_per_dim/train": 2.8}
    run("a", seed=0, scores={"fid": 8.0, "mine": 1, **bound}, settings={"run.name": "a"})
    run("b", seed=0, scores={"fid": 9.0, "mine": 2, **bound}, settings={"run.name": "b", **hybrid})
    found, out, _ = table()
    assert "| objective | FID | NLL test (train) | mine |" in out
    assert [row[0] for row in found] == ["Hybrid", "Simple"] and found[1][1:3] == ["**8.00**", "**≤2.900 (2.800)**"]


def test_without_a_layout_tracked_scores_are_left_out(tmp_path, capsys):
    """They have another protocol than those of the end, and would fill the width."""
    put(tmp_path / "a", summary(scores={"fid": 9.0, "track/fid": 11.0}))
    out, _ = printed(capsys, tmp_path, "--format", "markdown")
    assert "9.00" in out and "track" not in out and "11" not in out


def test_without_a_layout_one_experiment_is_one_row(run, table, tmp_path):
    run("a", scores={"fid": 8.0})
    assert table()[0] == [["a", "**8.00**"]]


@pytest.mark.parametrize(
    "names, label",
    [
        (("lr=0.001,seed_everything=0", "lr=0.001,seed_everything=1"), "lr=0.001"),
        (("SE/lr=1,seed_everything=0",), "lr=1"),
        (("seed_everything=0", "seed_everything=1"), "runs"),
        (("st/s0", "st/s1"), "st"),
        (("st/first", "st/again"), "st"),
    ],
)
def test_seeds_are_labelled_by_what_their_folders_have_in_common(run, table, names, label):
    """And never by one of the seeds."""
    for seed, name in enumerate(names):
        run(name, seed=seed, scores={"fid": 8.0})
    assert [row[0] for row in table()[0]] == [label]


def test_rows_that_were_trained_differently_are_warned_about(run, table):
    """A line for each setting that the rows do not say, with its values."""
    run("a", scores={"fid": 8.0}, settings={"trainer.max_steps": 40, "model.optimizer.lr": 0.1, "ema.decay": 0})
    settings = {"trainer.max_steps": 4000, "model.optimizer.lr": 1e-4, "ema.decay": 0.9999}
    run("b", scores={"fid": 9.0}, settings={**settings, "model.objective": "Hybrid", "model.objective.scale": 2})
    _, _, err = table(FID + "rows: {by: [model.objective]}")
    assert "warning: rows were trained differently: trainer.max_steps is 4000 in Hybrid, 40 in Simple\n" in err
    assert "model.optimizer.lr is 0.0001 in Hybrid, 0.1 in Simple" in err
    assert "ema.decay is 0.9999 in Hybrid, 0 in Simple" in err and err.count("trained differently") == 3
    assert not table(FID + "rows: {by: [model.objective, trainer.max_steps, model.optimizer.lr, ema.decay]}")[2]


def test_many_settings_of_training_are_a_few_lines(run, table):
    run("a", scores={"fid": 8.0}, settings={f"model.reverse.network.x{n}": 1 for n in range(9)})
    run("b", scores={"fid": 8.0}, settings={f"model.reverse.network.x{n}": 2 for n in range(9)} | {"data": "MNIST"})
    _, _, err = table(FID + "rows: {by: [data]}")
    assert err.count("network.x0 is") == 1 and err.count("warning") == 6
    assert "trained differently in 4 more: model.reverse.network.x5, " in err


@pytest.mark.parametrize(
    "key",
    ["trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.profiler",
     "data.num_workers", "data.root", "data.cache_bytes", "data.download", "data.eval_batch_size", "run.dir"],
)  # fmt: skip
def test_the_machine_makes_no_other_experiment(run, table, key):
    run("a", seed=0, settings={key: "x"}, scores={"fid": 8})
    run("b", seed=1, settings={key: "y"}, scores={"fid": 10})
    found, _, err = table(SIMPLE)
    assert found == [["simple", "**9.00±1.41**"]] and not err and not affects_scores(key)


def test_a_folder_of_images_is_the_data(run, table):
    """Where it lies does matter, then."""
    for seed, root in enumerate(("cats", "dogs")):
        run(root, seed=seed, settings={"data": "ImageFolder", "data.root": root}, scores={"fid": 8})
    assert [row[1] for row in table(SIMPLE)[0]] == ["root = cats", "root = dogs"]


@pytest.mark.parametrize(
    "key", ["seed_everything", "ckpt_path", "trainer.max_steps", "data.batch_size", "data", "runs"]
)
def test_a_setting_that_changes_scores_affects_scores(key):
    assert affects_scores(key)


def test_seeds_that_were_measured_differently_are_not_averaged(run, table):
    """Each way has a row that says so, and a warning does, with one line for the field."""
    for seed, samples in enumerate((64, 50000, 64)):
        how = [score(name, 8 + seed, samples=samples) for name in ("fid", "kid")]
        run(f"s{seed}", seed=seed, scores=dict(zip(("fid", "kid"), how)))
    found, _, err = table(FID.replace("]", ", kid]") + SIMPLE.splitlines()[1])
    assert [row[:3] for row in found] == [
        ["simple", "samples = 64", "**9.00±1.41**"],
        ["simple", "samples = 50000", "**9.00**"],
    ]
    assert "simple: 2 different experiments match this row and are not averaged; they differ in samples" in err
    line = "FID, KID: samples is 64 in simple (samples = 64), 50000 in simple (samples = 50000)"
    assert line in err and err.count("samples is") == 1


def test_a_protocol_that_is_not_there_is_not_a_reason_for_many_lines(run, table):
    """Nor for one that contradicts itself."""
    run("st/s0", seed=0, scores={"fid": 8.0})
    run("st/s1", seed=1, scores={"fid": {"value": 9.0, "std": None, "protocol": {}}})
    found, _, err = table()
    assert [row[:2] for row in found] == [["st", "sampler = AncestralSampler"], ["st", "sampler = not given"]]
    assert err.count("warning") == 2
    assert (
        "rows may not compare: the protocol of st (sampler = not given) lacks the fields sampler, steps, nfe, weights, "
        "6 more\n" in err
    )


def test_seeds_of_different_steps_are_averaged_with_a_warning(run, table):
    run("s0", seed=0, scores={"fid": score("fid", 8, step=1000)})
    run("s1", seed=1, scores={"fid": score("fid", 10, step=2000)})
    found, _, err = table(SIMPLE)
    assert found == [["simple", "**9.00±1.41**"]]
    assert err == "warning: seeds are averaged that were scored after different training steps: simple (1000, 2000)\n"


def test_rows_of_different_steps_are_warned_about(run, table):
    run("a", scores={"fid": score("fid", 8, step=1000)})
    run("b", scores={"fid": score("fid", 10, step=2000)}, settings={"model.objective": "Hybrid"})
    assert (
        "do not compare in FID: step is 2000 in Hybrid, 1000 in Simple"
        in (table(FID + "rows: {by: [model.objective]}")[2])
    )


@pytest.fixture
def tested(run):
    """A summary of `test`: of a checkpoint, after that many steps."""

    def make(name, seed, value, ckpt, step=2000, **settings):
        settings = {**settings, "ckpt_path": f"/r/{ckpt}.ckpt"}
        run(name, seed=seed, settings=settings, scores={"fid": score("fid", value, step=step)})

    return make


def test_checkpoints_of_one_training_are_different_experiments(tested, table):
    """None replaces the other as the newer."""
    tested("early", 0, 8, "s0/early", 1000)
    tested("late", 0, 6, "s0/late", 2000)
    tested("other", 0, 7, "s0/other", 2000)
    found, _, err = table(SIMPLE)
    assert [row[1:] for row in found] == [
        ["step = 1000, ckpt_path = early.ckpt", "8.00"],
        ["step = 2000, ckpt_path = late.ckpt", "**6.00**"],
        ["step = 2000, ckpt_path = other.ckpt", "7.00"],
    ]
    assert "newer" not in err and "they differ in step, ckpt_path" in err


def test_each_seed_has_a_checkpoint_of_its_own(tested, table):
    """Samplers on two trained seeds: a mean over both in each row, and nothing to warn of."""
    for seed, value in enumerate((8, 10)):
        for steps in (10, 20):
            tested(f"{seed}-{steps}", seed, value, f"s{seed}/last", **{"model.sampler.steps": steps})
    found, _, err = table(FID + "rows: {by: [model.sampler.steps]}")
    assert found == [["10", "**9.00±1.41**"], ["20", "**9.00±1.41**"]] and not err


def test_seeds_of_checkpoints_of_two_steps_make_two_means(tested, table):
    for seed in (0, 1):
        for step in (1000, 2000):
            tested(f"{seed}-{step}", seed, step / 1000 + seed, f"s{seed}/{step}", step)
    assert [row[1:] for row in table(SIMPLE)[0]] == [["step = 1000", "**1.50±0.71**"], ["step = 2000", "2.50±0.71"]]


def test_one_checkpoint_sampled_with_several_seeds_is_averaged(tested, table):
    """Of two such checkpoints with the same seeds each has its own mean."""
    for seed, value in enumerate((8, 10)):
        tested(f"a{seed}", seed, value, "a")
    assert table(SIMPLE)[0] == [["simple", "**9.00±1.41**"]]
    for seed, value in enumerate((5, 5)):
        tested(f"b{seed}", seed, value, "b")
    assert [row[1:] for row in table(SIMPLE)[0]] == [
        ["ckpt_path = a.ckpt", "9.00±1.41"],
        ["ckpt_path = b.ckpt", "**5.00±0.00**"],
    ]


def test_rows_of_different_checkpoints_of_one_training_are_warned_about(tested, table):
    tested("a", 0, 8, "early", **{"model.sampler.steps": 10})
    tested("b", 0, 9, "late", **{"model.sampler.steps": 20})
    err = table(FID + "rows: {by: [model.sampler.steps]}")[2]
    assert err == "warning: rows are of different checkpoints of one training: ckpt_path is early.ckpt in 10, " + (
        "late.ckpt in 20\n"
    )


@pytest.mark.parametrize(
    "value, std, shown",
    [(22414.128, 548.1151, "22414±548"), (0.02, 0.001, "0.0200±0.0010"), (1e300, None, "1.000e+300")],
)
def test_scores_without_fixed_digits_have_four_significant_ones(run, table, value, std, shown):
    """KID has four after the point at most; a layout's digits stay."""
    run("a", scores={"kid": score("kid", value, std)})
    assert table()[0][0][1] == f"**{shown}**"
    found = table("columns: [{score: kid, digits: 1}]\n" + SIMPLE.splitlines()[1])[0]
    assert value > 1e9 or found[0][1].startswith(f"**{value:.1f}")


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


def test_a_note_has_no_part_for_what_no_protocol_states(run, table):
    """A score without a reference, as IS, ends its note with the last thing that is known."""
    own = {"value": 9.0, "std": None, "protocol": {"features": "x", "samples": 10}}
    run("a", scores={"inception_score": own})
    assert "- IS: 10 samples; features x\n" in table("columns: [inception_score]\nrows: {by: [data]}")[1]
