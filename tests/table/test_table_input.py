"""Where runs come from, and one line for every mistake."""

import json

import pytest
import wandb

from lit_diffusion.errors import ConfigError
from lit_diffusion.table.command import main, show
from tests.table.table_made import layout, printed, put, rows, summary

FID = "columns: [fid]\n"
ROWS = "rows: [{label: simple, where: {model.objective: Simple}}]"


@pytest.fixture
def runs(tmp_path):
    put(tmp_path / "runs" / "a", summary(scores={"fid": 8.0}))
    return tmp_path / "runs"


def refused(*arguments):
    """The one line of the error."""
    with pytest.raises(ConfigError) as error:
        main([str(argument) for argument in arguments])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_run_folders_of_runs_and_folders_of_those_are_found_once(tmp_path, capsys):
    """However they are named."""
    for number, name in enumerate(("a", "b/c", "b/d/e")):
        put(tmp_path / name, summary(settings={"trainer.max_steps": number}, scores={"fid": number}))
    found = printed(capsys, tmp_path, tmp_path / "a", tmp_path / "b", "--format", "markdown")
    assert [row[0] for row in rows(found.out)] == ["0", "1"] + ["2"] and not found.err


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "is damaged"),
        ("[]", "is not the summary of a run"),
        (json.dumps({**summary(), "schema": 2}), "has schema 2"),
        (json.dumps({**summary(), "status": "?"}), "status, seed or settings in its summary are invalid"),
        (json.dumps({**summary(), "scores": {"fid": 3}}), "the scores in its summary are damaged"),
        (" " * (10 * 2**20 + 1), "has 10 MB"),
    ],
)
def test_a_summary_that_cannot_be_read_is_named_and_left_out(runs, capsys, content, message):
    """If nothing else is there, that is an error."""
    put(runs / "bad", content)
    out, err = printed(capsys, runs)
    assert "8.00" in out and out.count("warning: left out: ") == err.count("warning: left out: ") == 1
    assert message in err and "bad" in err
    assert message in refused(runs / "bad")


def test_a_linked_summary_is_left_out(runs, capsys):
    (runs / "link").mkdir()
    (runs / "link" / "summary.json").symlink_to(runs / "a" / "summary.json")
    assert "the file is a link" in refused(runs / "link")


@pytest.fixture
def linked(tmp_path):
    """Two runs, and a folder whose summary is a link to the first."""
    put(tmp_path / "zl" / "ok", summary(settings={"data": "A"}, scores={"fid": 1.0}))
    put(tmp_path / "zl" / "other", summary(settings={"data": "B"}, scores={"fid": 2.0}))
    return tmp_path / "zl"


@pytest.mark.parametrize("name", ["aa", "zz"])
@pytest.mark.parametrize(
    "target, message",
    [
        ("../ok/summary.json", "the file is a link; "),
        ("../none", "broken link; "),
        ("summary.json", "broken link"),
    ],
)
def test_a_linked_summary_never_takes_the_place_of_the_run(linked, capsys, name, target, message):
    """Whether it sorts before or behind the run, dangles or leads to itself: it is named."""
    (linked / name).mkdir()
    (linked / name / "summary.json").symlink_to(target)
    out, err = printed(capsys, linked, "--format", "markdown")
    assert [row[0] for row in rows(out)] == ["A", "B"]
    assert (
        err.count("warning: left out: ") == 1
        and f"{name}/summary.json: {message}" in err
        or f"{name}: {message}" in err
    )


@pytest.mark.parametrize("name", ["aa", "zz"])
def test_a_linked_folder_counts_only_where_its_run_is_found_nowhere_else(linked, capsys, name, tmp_path):
    """A link to another place is a run as any other; a link to nothing is named."""
    (linked / name).symlink_to("ok")
    put(tmp_path / "elsewhere" / "run", summary(settings={"data": "C"}))
    (linked / "far").symlink_to(tmp_path / "elsewhere" / "run")
    (linked / "nothing").symlink_to("none")
    out, err = printed(capsys, linked, linked, "--format", "markdown")
    assert [row[0] for row in rows(out)] == ["A", "B", "C"]
    assert f"{linked / name}: a link to {linked / 'ok'}, which is used; remove" in err
    assert "nothing: broken link; remove it" in err and err.count("left out") == 2


def test_a_setting_of_any_size_is_compared(runs, capsys):
    """10**400 does not fit a float."""
    put(runs / "b", summary(settings={"model.objective": 10**400}, scores={"fid": 1.0}))
    assert "missing" in printed(capsys, runs, "--layout", "table2").out


@pytest.mark.parametrize(
    "rest, message",
    [
        ("rows: [{label: x, where: {model.objectiv: Simple}}]", "no run has a setting model.objectiv;"),
        ("rows: {by: [model.objective, model.objective.weigting]}", "no run has a setting model.objective.weigting;"),
        ("rows: {by: [data], where: {model.objective: [Simpel, Simple]}}", "no run has model.objective Simpel"),
        ("rows: [{label: x, where: {model.sampler.steps: 50}}]", "no run has model.sampler.steps 50"),
    ],
)
def test_what_no_run_has_and_no_class_takes_is_named(runs, tmp_path, capsys, rest, message):
    """One line each."""
    _, err = printed(capsys, runs, "--layout", layout(tmp_path, FID + rest))
    assert err.count(f"warning: {message}") == 1 and err.count("no run has") == 1


@pytest.mark.parametrize(
    "rest",
    [
        "rows: {by: [model.sampler, model.sampler.eta]}",
        "rows: [{label: x, where: {model.objective: [Hybrid, lit_diffusion.diffusion.VariationalBound]}}]",
        "rows: [{label: x, where: {model.objective.scale: null}}]",
    ],
)
def test_what_another_class_of_ours_would_have_is_not_a_mistake(runs, tmp_path, capsys, rest):
    assert "no run has" not in printed(capsys, runs, "--layout", layout(tmp_path, FID + rest)).err


@pytest.mark.parametrize(
    "where",
    [
        "model.objective: lit_diffusion.diffusion.Simple",
        "model.init_args.objective: Simple",
        "model.init_args.objective.class_path: [lit_diffusion.diffusion.objective.Simple, Hybrid]",
        "model.init_args.objective.init_args.weighting: Constant",
    ],
)
def test_keys_and_classes_may_be_written_in_full(runs, tmp_path, capsys, where):
    text = f"{FID}rows: [{{label: x, where: {{{where}}}}}]"
    out, err = printed(capsys, runs, "--layout", layout(tmp_path, text), "--format", "markdown")
    assert rows(out) == [["x", "**8.00**"]] and not err


def test_show_takes_the_layout_only_where_a_run_stands_in_it(runs, capsys):
    """Else, and where there is none of the name, the rows are what differs."""
    show([str(runs)], "table2")
    assert "8.00*" in (out := capsys.readouterr().out) and "Table 2" in out
    show([str(runs)], "table1")
    out, err = capsys.readouterr()
    assert "missing" not in out and "8.00*" in out and "no run matches a row of the layout table1" in err
    for name in ("my_sweep", None):
        show([str(runs)], name)
        out, err = capsys.readouterr()
        assert "8.00*" in out and not err


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: [", "not valid YAML"),
        ("3", "layout: expected keys and values (columns, compare, head, latex, rows, title), got 3"),
        (FID, "rows is missing; set it to a list of rows"),
        (ROWS, "columns is missing"),
        (f"columns: []\n{ROWS}", "columns: expected at least one score"),
        (f"columns: fid\n{ROWS}", "columns: expected a list of scores, such as [fid, inception_score], got 'fid'"),
        (f"columns: [{{title: x}}]\n{ROWS}", "column 1: score is missing; set it to the name of a score"),
        (f"columns: [3]\n{ROWS}", "column 1: expected keys and values"),
        (f"columns: [{{score: fid, wide: 3}}]\n{ROWS}", "column 1: unknown key wide; choose one of best, digits"),
        (f"columns: [{{score: fid, best: up}}]\n{ROWS}", "column 1: best: expected lowest, highest or null, got 'up'"),
        (f"columns: [{{score: fid, digits: -1}}]\n{ROWS}", "column 1: digits: expected 0 to 15, got -1"),
        (
            f"columns: [{{score: fid, digits: 99999999999}}]\n{ROWS}",
            "column 1: digits: expected 0 to 15, got 99999999999",
        ),
        (
            f"{FID}rows: [{{label: x, where: {{3: 4}}}}]",
            "row 1: where: expected a dotted key, such as model.sampler; got 3",
        ),
        (
            f"columns: [{{score: fid, digits: two}}]\n{ROWS}",
            "column 1: digits: expected a whole number, such as 2, got 'two'",
        ),
        (
            f"columns: [{{score: fid, paper: ddpm}}]\n{ROWS}",
            "column 1: paper: expected true for the paper's numbers, got 'ddpm'",
        ),
        (f"columns: [fidd]\n{ROWS}", "no run has the score fidd; choose one of K, "),
        (f"{FID}rows: []", "rows: expected at least one row"),
        (f"{FID}rows: [x]", "row 1: expected keys and values"),
        (f"{FID}rows: [{{label: x}}]", "row 1: where and paper are missing"),
        (f"{FID}rows: [{{where: {{}}}}]", "row 1: label is missing"),
        (
            f"{FID}rows: [{{label: x, paper: ddpm/none}}]",
            "row 1: paper: no row ddpm/none in any paper; choose one of",
        ),
        (f"{FID}rows: [{{group: x, label: y}}]", "row 1: unknown key label"),
        (f"{FID}rows: {{by: []}}", "rows: by: expected at least one key"),
        (
            f"{FID}rows: {{by: [{{key: 3}}]}}",
            "rows: by 1: key: expected the dotted key of a setting, such as model.sampler, got 3",
        ),
        (f"{FID}rows: {{by: [model.none]}}", "no run has any of the settings model.none"),
        (f"{FID}{ROWS}\nrow: 3", "layout: unknown key row"),
    ],
)
def test_what_is_wrong_in_a_layout_is_said_in_one_line(runs, tmp_path, text, message):
    assert message in refused(runs, "--layout", layout(tmp_path, text))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "expected folders of runs or --wandb entity/project, got neither"),
        (["{runs}", "--wandb", "a/b"], "got both"),
        (["{tmp}/none"], "none: no such folder; name the folder of a run"),
        (["{tmp}/file"], "file: not a folder"),
        (["{tmp}/empty"], "empty: no run; name a folder with a summary.json"),
        (["{runs}", "--layout", "table3"],
         "no layout table3; choose dpm2015, families, guidance, objectives, samplers, schedules, table1, table2, or "
         "a YAML file"),
        (["{runs}", "--format", "html"], "invalid choice: 'html'"),
        (["{runs}", "--out", "{tmp}/none/t.md"], "--out: no folder"),
        (["{runs}", "--out", "{tmp}"], "--out: expected a file, got the folder"),
        (["{runs}", "--out", "{tmp}/t.html"], "--out: expected .txt, .md, .tex, .csv, got "),
        (["--wandb", "project"], "--wandb: expected entity/project, got project"),
    ],
)  # fmt: skip
def test_what_is_wrong_on_the_command_line_is_said_in_one_line(runs, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert message in refused(*(one.format(runs=runs, tmp=tmp_path) for one in arguments))


class FakeRun:
    """A run of a W&B server."""

    def __init__(self, name, **kept):
        self.name, self.summary = name, kept


@pytest.fixture
def server(monkeypatch):
    """A W&B server that has these runs, or raises this error."""

    def serve(answer):
        class Api:
            def __init__(self, **options):
                if isinstance(answer, Exception):
                    raise answer

            def runs(self, project):
                assert project == "me/digits"
                yield from answer

        monkeypatch.setattr(wandb, "Api", Api)

    return serve


def test_runs_of_a_project_on_a_server(server, capsys):
    """Those without our summary are counted; the newest of two equal ones is the later."""
    ours = [FakeRun(name, **{"summary.json": json.dumps(summary(scores={"fid": fid})), "_timestamp": time})
            for name, fid, time in (("new", 6.0, 2000.5), ("old", 8.0, 1000))]  # fmt: skip
    server([*ours, FakeRun("other", loss=1), FakeRun("another"), FakeRun("bad", **{"summary.json": "{"})])
    out, err = printed(capsys, "--wandb", "me/digits", "--format", "markdown")
    assert rows(out) == [["digits", "**6.00**"]]
    assert "2 of the runs of me/digits have no summary.json" in err and "the summary of me/digits/bad is damaged" in err
    assert "me/digits/old has the settings and the seed of me/digits/new" in err


@pytest.mark.parametrize(
    "answer, message",
    [
        (wandb.errors.CommError("no\nroute"), "me/digits cannot be read (no route)"),
        (wandb.errors.UsageError("No API key configured."), "cannot be read (No API key configured.)"),
        (ValueError("Could not find project"), "cannot be read (Could not find project)"),
        ([], "no run of me/digits has a summary.json"),
        ([FakeRun("a", loss=1)], "no run of me/digits has a summary.json"),
    ],
)
def test_a_project_that_cannot_be_read_is_one_line(server, answer, message):
    server(answer)
    assert message in refused("--wandb", "me/digits")


def test_options_may_stand_before_between_and_behind_the_folders(runs, tmp_path, capsys):
    put(tmp_path / "b", summary(seed=1, scores={"fid": 10.0}))
    chosen = layout(tmp_path, FID + ROWS)
    orders = [["--layout", chosen, runs, tmp_path / "b"], [runs, "--layout", chosen, tmp_path / "b"]]
    for arguments in orders:
        assert rows(printed(capsys, *arguments, "--format", "markdown").out) == [["simple", "**9.00±1.41**"]]
