"""Sweep files: what they expand to, how cells are named, and one line for every mistake."""

import itertools
import math
import re
import subprocess
import sys
from statistics import mean

import pytest
import yaml

from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.bayes import suggest
from lit_diffusion.sweep.cell import Cell
from lit_diffusion.sweep.parameters import DISTRIBUTIONS, Choice, NumericParameter, hash_to_fraction, read_parameter
from lit_diffusion.sweep.sweep_file import SweepFile

COMMAND = ["${env}", "${program}", "fit", "-c", "${envvar:LIT_DIFFUSION_CONFIG}", "--run.dir=runs/x", "${args}"]
GRID = {"program": "lightning", "method": "grid", "parameters": {"ema.decay": {"values": [0.9, 0.99]}}}
SEARCH = {"model.optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}}


@pytest.fixture
def sweep(tmp_path):
    """Reads a sweep file of these keys, or of this text."""

    def read(text: str | None = None, **keys: object) -> SweepFile:
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({**GRID, "command": COMMAND, **keys}, sort_keys=False) if text is None else text)
        return SweepFile.read(path)

    return read


def test_a_grid_is_the_product_in_the_files_order(sweep):
    """The first parameter varies slowest; a cap takes the first cells, run_cap too, and cap has the last word."""
    parameters = {"b": {"values": [2, 1]}, "a": {"value": "x"}, "c": {"min": 1, "max": 3}}
    cells = sweep(parameters=parameters).cells()
    expected = itertools.product([2, 1], ["x"], [1, 2, 3])
    assert [cell.parameters for cell in cells] == [tuple(zip("bac", values)) for values in expected]
    assert cells[0].arguments == ["--a=x", "--b=2", "--c=1"]
    assert sweep(parameters=parameters, run_cap=4).cells() == cells[:4]
    assert sweep(parameters=parameters, run_cap=4).cells(5) == cells[:5]


def test_what_a_file_says_of_its_runs(sweep):
    """Name, sub-command, metric, and the literal options without those that are given from outside."""
    command = [*COMMAND[:2], "test", "--config=${envvar:BASE}", "--run.name=${x}", "--ckpt_path=${envvar:C}"]
    command += ["--trainer.max_steps=7", "--data=Digits", "${args}"]
    file = sweep(command=command, metric={"name": "kid", "goal": "maximize"}, run_cap=3)
    assert (file.name, file.method, file.subcommand, file.run_cap) == ("sweep", "grid", "test", 3)
    assert file.options == ("--trainer.max_steps=7", "--data=Digits")
    assert file.metric == {"name": "kid", "goal": "maximize"}
    assert sweep(name="mine").name == "mine"
    assert sweep(metric={"name": "fid"}).metric["goal"] == "minimize"


def test_reading_needs_no_torch(tmp_path):
    """`lit-diffusion sweep` says a mistake at once."""
    code = "import sys; import lit_diffusion.sweep.bayes, lit_diffusion.sweep.sweep_file as s"
    code += "; s.SweepFile.read('sweeps/table2.yaml'); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


def test_what_the_server_alone_does_is_noted(sweep):
    file = sweep(early_terminate={"type": "hyperband", "min_iter": 3}, metric={"name": "fid", "target": 3.0})
    assert [re.search("early_terminate|target", note)[0] for note in file.notes] == ["early_terminate", "target"]
    assert sweep().notes == ()


def test_draws_are_functions_of_key_seed_and_number(sweep):
    """A higher cap only adds cells, another range for one key leaves the others, another seed draws others."""
    parameters = {**SEARCH, "ema.decay": {"min": 0.5, "max": 0.9}}
    file = sweep(method="random", parameters=parameters)
    assert file.cells(30)[:10] == file.cells(10)
    assert len({cell.name for cell in file.cells(30)}) == 30
    assert file.cells(10, seed=1) != file.cells(10)
    other = sweep(method="random", parameters={"ema.decay": {"values": [0, 1]}, **SEARCH}).cells(10)
    rates = [[dict(cell.parameters)["model.optimizer.lr"] for cell in cells] for cells in (file.cells(10), other)]
    assert rates[0] == rates[1]
    assert file.cells(2)[0].name == "lr=0.002606,decay=0.6678", "the same on every machine"


def test_a_discrete_space_is_drawn_without_repetition(sweep):
    """Asked for more cells than there are, a random search returns each once."""
    file = sweep(method="random", parameters={"a": {"values": [1, 2, 3]}, "b": {"min": 1, "max": 2}})
    assert sorted(cell.name for cell in file.cells(50)) == [f"a={a},b={b}" for a in (1, 2, 3) for b in (1, 2)]


DRAWN = {
    "uniform": ({"min": -1.0, "max": 3}, lambda x: (x + 1) / 4),
    "log_uniform_values": ({"min": 1e-4, "max": 1}, lambda x: 1 + math.log10(x) / 4),
    "inv_log_uniform_values": ({"min": 1e-4, "max": 1}, lambda x: 1 + math.log10(x) / 4),
    "normal": ({"mu": 3, "sigma": 2.0}, lambda x: 0.5 * (1 + math.erf((x - 3) / 8**0.5))),
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_follow_the_distribution(name):
    """Kolmogorov-Smirnov: the distribution's own quantiles of 2,000 draws are uniform; `quantile` inverts `at`."""
    spec, cdf = DRAWN[name]
    parameter = read_parameter({"distribution": name, **spec})
    values = [parameter.at(hash_to_fraction(0, index, "key")) for index in range(2000)]
    quantiles = sorted(cdf(value) for value in values)
    assert max(abs(q - (index + 0.5) / 2000) for index, q in enumerate(quantiles)) < 1.63 / 2000**0.5  # 1%
    assert all(parameter.quantile(value) == pytest.approx(cdf(value), abs=1e-9) for value in values)
    assert all(float(f"{value:.4g}") == value for value in values)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"min": 2, "max": 4}, [2, 3, 4]),
        ({"distribution": "q_uniform", "min": 1, "max": 3.2, "q": 0.5}, [1.0, 1.5, 2.0, 2.5, 3.0]),
        ({"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"distribution": "q_uniform", "min": 2.1, "max": 2.8, "q": 0.3}, [2.1, 2.4, 2.7]),  # 2.1 / 0.3 > 7
        ({"distribution": "q_uniform", "min": 5, "max": 35, "q": 10}, [10, 20, 30]),
        ({"distribution": "q_uniform", "min": 0.5, "max": 2.5}, [1.0, 2.0]),
        ({"distribution": "q_log_uniform_values", "min": 32, "max": 128, "q": 32}, [32, 64, 96, 128]),
        ({"values": [3, "a", True], "distribution": "categorical"}, [3, "a", True]),
        ({"values": ["a", "b", "c"], "probabilities": [1, 0, 3]}, ["a", "c"]),
    ],
)
def test_discrete_draws_reach_every_value_and_no_other(spec, expected):
    """Also at both ends of the quantiles; q whole: whole numbers, else floats."""
    parameter = read_parameter(spec)
    drawn = {repr(parameter.at(quantile)): parameter.at(quantile) for quantile in [i / 1000 for i in range(1000)]}
    assert sorted(drawn) == sorted(map(repr, expected))
    assert repr(parameter.at(math.nextafter(1, 0))) == repr(expected[-1])
    if isinstance(parameter, NumericParameter):
        assert all(-1e-9 <= parameter.quantile(value) <= 1 + 1e-9 for value in expected)


def test_probabilities_are_those_of_the_draws():
    parameter = read_parameter({"values": ["a", "b"], "probabilities": [0.25, 0.75]})
    assert mean(parameter.at(hash_to_fraction(0, i, "key")) == "b" for i in range(4000)) == pytest.approx(
        0.75, abs=0.03
    )
    assert Choice(("a", "b"), (0.3, 0.3)).at(0.99) == "b", "rounding leaves no gap at the end"


NAMES = [
    ({"model.sampler": "DDIMSampler", "model.sampler.steps": 50}, "sampler=DDIMSampler,steps=50"),
    ({"a.steps": 1, "b.steps": 2, "b.c": 3}, "a.steps=1,b.steps=2,c=3"),
    ({"config": "configs/objective/variational_bound.yaml"}, "config=objective-variational_bound"),
    ({"x.lr": 0.0003, "x.eps": 1e-08, "x.on": True}, "lr=0.0003,eps=1e-08,on=True"),
]


@pytest.mark.parametrize(("parameters", "name"), NAMES)
def test_a_name_spells_the_settings_out(parameters, name):
    assert Cell.make(parameters).name == name


def test_two_cells_never_share_a_name():
    """Values that are shortened, hold other characters, or make a name too long carry a hash of the exact settings."""
    values = [0.1234567, 0.1234569, "0.1235", "a/b", "a_b", "a-b", [1, 2], "[1, 2]x", [1, 2, 3], "ü", "ö", "a,b=1", "a"]
    values += ["x" * 200, "x" * 199 + "y", "x" * 113, " a", "null", 1, 1.0, True, "", "."]
    cells = [Cell.make({"k": value}) for value in values]
    cells += [
        Cell.make({"config": f}) for f in ("configs/a/b.yaml", "a/b.yaml", "configs/a-b.yaml", "configs/a/b", "a-b")
    ]
    cells += [Cell.make({"a": "1,b=2", "b": "3"}), Cell.make({"a": "1", "b": "2,b=3"})]
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9=,._+-]{1,120}", name) for name in names)


def test_a_seed_is_one_more_setting():
    cell = Cell.make({"ema.decay": 0.9}).with_seed(3)
    assert (cell.name, cell.arguments) == ("decay=0.9,seed_everything=3", ["--ema.decay=0.9", "--seed_everything=3"])
    with pytest.raises(ConfigError, match=r"parameters\.seed_everything: .*; request no others"):
        cell.with_seed(4)


X = "parameters.x: "
MISTAKES = {
    "unknown key": ({"methods": "grid"}, "methods: unknown key; choose one of name, "),
    "unknown method": ({"method": "gird"}, "method: expected grid, random, bayes; got gird"),
    "no program": ({"program": None}, "program: W&B needs it; set program: lightning"),
    "name": ({"name": 3}, "name: expected the name of a folder, such as table2; got 3"),
    "run_cap": ({"run_cap": 0}, "run_cap: expected a whole number from 1 to 10000, got 0"),
    "no parameters": ({"parameters": {}}, "parameters: expected keys and values"),
    "no bayes metric": ({"method": "bayes"}, "metric: no name of a score; set metric: {name: fid"),
    "metric key": ({"metric": {"name": "fid", "gaol": 1}}, "metric.gaol: unknown key; set"),
    "goal": ({"metric": {"name": "fid", "goal": "lower"}}, "metric.goal: expected minimize or maximize, got lower"),
    "two spellings": (
        {"parameters": {"model.init_args.objective": {"value": 1}, "model.objective": {"value": 2}}},
        "parameters.model.objective: also set as model.init_args.objective; set it once",
    ),
    "in command": (
        {"command": [*COMMAND[:-1], "--ema.decay=0.5", "${args}"]},
        "parameters.ema.decay: also set in command; set it once",
    ),
    "hyphens": ({"parameters": {"--x": {"value": 1}}}, "parameters.--x: expected a dotted key"),
    "folder": (
        {"parameters": {"run.name": {"value": "a"}}},
        "parameters.run.name: each cell has its own folder; omit",
    ),
    "no mapping": ({"parameters": {"x": [1, 2]}}, X + "expected {values: [...]}"),
    "no values": ({"parameters": {"x": {"max": 1}}}, X + "no values; set values, or value, or min and max"),
    "empty values": ({"parameters": {"x": {"values": []}}}, X + "values: expected a list of at least one value"),
    "one twice": ({"parameters": {"x": {"values": [1, 2, "1"]}}}, X + "values: 1 is listed twice; list it once"),
    "nested": ({"parameters": {"x": {"parameters": {"y": {"value": 1}}}}}, X + "nested parameters do not reach"),
    "null": (
        {"parameters": {"x": {"value": None}}},
        X + 'null would reach the command line as None; use the text "n',
    ),
    "null among": ({"parameters": {"x": {"values": [1, None]}}}, X + "null would reach"),
    "continuous grid": (
        {"parameters": {"x": {"min": 0.0, "max": 1.0}}},
        X + "a grid cannot list a distribution; use values, or method: random",
    ),
    "ends": ({"parameters": {"x": {"min": 2, "max": 2}}}, X + "min: expected a number below max, 2; got 2"),
    "no number": (
        {"parameters": {"x": {"min": "1e-4", "max": 1}}},
        X + "min: expected a number, with a point before an exponent, such as 1.0e-4; got 1e-4",
    ),
    "no logarithm": (
        {"parameters": {"x": {"distribution": "log_uniform_values", "min": 0, "max": 1}}},
        X + "min: expected a positive number, got 0",
    ),
    "unknown distribution": (
        {"parameters": {"x": {"distribution": "beta"}}},
        X + "unknown distribution beta; choose one of constant, ",
    ),
    "strange distribution": (
        {"parameters": {"x": {"distribution": ["beta"]}}},
        X + "unknown distribution ['beta']",
    ),
    "of another": (
        {"parameters": {"x": {"values": [1], "min": 2}}},
        X + "categorical does not take min; choose from values, probabilities",
    ),
    "incomplete": (
        {"parameters": {"x": {"distribution": "uniform", "min": 2}}},
        X + "uniform needs max; set min, max",
    ),
    "whole ends": (
        {"parameters": {"x": {"distribution": "int_uniform", "min": 1, "max": 2.5}}},
        X + "int_uniform: expected min and max without a point",
    ),
    "no multiple": (
        {"parameters": {"x": {"distribution": "q_uniform", "min": 1, "max": 9, "q": 10}}},
        X + "q: no multiple of 10 from 1 to 9; use a smaller positive number",
    ),
    "sigma": (
        {"parameters": {"x": {"distribution": "normal", "sigma": 0}}},
        X + "sigma: expected a positive number, got 0",
    ),
    "probabilities": (
        {"parameters": {"x": {"values": [1, 2], "probabilities": [1]}}},
        X + "probabilities: expected a list with a number for each value",
    ),
    "negative": (
        {"parameters": {"x": {"values": [1, 2], "probabilities": [2, -1]}}},
        X + "probabilities: expected numbers of 0 or more",
    ),
    "no command": ({"command": None}, 'command: missing; set it to ["${env}", '),
    "no hyphens": (
        {"command": [*COMMAND[:-1], "${args_no_hyphens}"]},
        "command: ${args_no_hyphens} does not write --key=value; use ${args}",
    ),
    "no args": (
        {"command": COMMAND[:-1]},
        "command: swept values must override all others; put ${args} once, at the end",
    ),
    "args first": (
        {"command": ["lightning", "fit", "${args}", "--a=1"]},
        "command: swept values must override all others",
    ),
    "no sub-command": (
        {"command": ["${env}", "python", "${program}", "${args}"]},
        "command: no sub-command; add one of fit, test, as in [",
    ),
    "fixed base": (
        {"command": ["lightning", "fit", "-c", "configs/digits.yaml", "${args}"]},
        "command: -c: expected ${envvar:LIT_DIFFUSION_CONFIG} for the base, got configs/digits.yaml",
    ),
    "two items": (
        {"command": ["lightning", "fit", "--trainer.max_steps", "7", "${args}"]},
        "command: expected --key=value as one item, got --trainer.max_steps",
    ),
    "agent's variable": (
        {"command": ["lightning", "fit", "--data.root=${envvar:DATA}", "${args}"]},
        "command: only an agent knows --data.root=${envvar:DATA}; set the value itself",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_key_and_remedy(mistake, sweep, tmp_path):
    keys, message = MISTAKES[mistake]
    with pytest.raises(ConfigError) as error:
        sweep(**keys)
    assert str(error.value).startswith(f"{tmp_path / 'sweep.yaml'}: {message}"), str(error.value)
    assert "\n" not in str(error.value)


TEXTS = {
    "no YAML": ("method: [grid", r"line \d+, column \d+: not valid YAML: .*; fix the line"),
    "no mapping": ("- grid\n", "no sweep; set method, parameters and command"),
    "empty": ("", "no sweep"),
    "no text": ("\x00", "not readable as YAML: "),
    "a key twice": (
        "method: grid\nparameters:\n  a.b: {values: [1]}\n  a.b: {values: [2]}\n",
        "line 4, column 3: not valid YAML: duplicate key a.b; fix the line",
    ),
    "strange key": ("? [1, 2]\n: 3\n", "not valid YAML: found unhashable key"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_that_is_not_a_sweep_is_refused_in_one_line(text, sweep):
    with pytest.raises(ConfigError, match=TEXTS[text][1]) as error:
        sweep(TEXTS[text][0])
    assert "\n" not in str(error.value)


def test_a_missing_file_is_answered_with_the_shipped_ones(tmp_path, monkeypatch):
    """And shipped files are found from any folder."""
    monkeypatch.chdir(tmp_path)
    assert SweepFile.read("sweeps/table2.yaml").name == "table2"
    with pytest.raises(ConfigError, match="zzz.yaml: no such file; shipped ones are sweeps/bayes"):
        SweepFile.read("zzz.yaml")
    with pytest.raises(ConfigError, match=r"sweeps/tabel2\.yaml: no such file; use sweeps/table2"):
        SweepFile.read("sweeps/tabel2.yaml")


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_needs_an_end(method, sweep):
    file = sweep(method=method, parameters=SEARCH, metric={"name": "fid"})
    with pytest.raises(ConfigError, match=f"run_cap: {method} needs a number of cells; set run_cap: 20"):
        file.limit()
    assert file.limit(3) == 3


def test_bayes_lists_no_cells(sweep):
    with pytest.raises(ConfigError, match="method: bayes chooses each cell by the scores of earlier ones"):
        sweep(method="bayes", metric={"name": "fid"}, run_cap=3).cells()


def test_every_distribution_is_tested():
    discrete = {"constant", "categorical", "categorical_w_probabilities", "int_uniform", "q_uniform"}
    assert set(DISTRIBUTIONS) == {*DRAWN, *discrete, "q_log_uniform_values"}


@pytest.fixture
def bayes(sweep):
    parameters = {**SEARCH, "net": {"values": ["a", "b", [1, 2]]}, "n": {"min": 1, "max": 9}, "one": {"value": 5}}

    def read(goal: str = "minimize") -> SweepFile:
        return sweep(method="bayes", run_cap=9, metric={"name": "fid", "goal": goal}, parameters=parameters)

    return read


def test_bayes_without_optuna_says_what_to_install(bayes, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        ConfigError, match=r"bayes needs optuna; run pip install 'lit_diffusion\[bayes\]', or use method"
    ):
        suggest(bayes(), [], 0, 0)


def loss(cell: dict) -> float:
    """Least at lr = 1e-3, net b, n = 7."""
    return abs(math.log10(cell["model.optimizer.lr"]) + 3) + (cell["net"] != "b") + abs(cell["n"] - 7) / 8


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_bayes_finds_better_cells_than_chance(goal, bayes):
    """The second half of 40 suggestions is better than the first, which is nearly random; failures are avoided."""
    pytest.importorskip("optuna")
    sweep, sign, history = bayes(goal), 1 if goal == "minimize" else -1, []
    for index in range(40):
        cell = suggest(sweep, history, index, seed=0)
        history.append((cell, None if cell["net"] == "a" else sign * loss(cell)))
    losses = [loss(cell) for cell, _ in history]
    assert mean(losses[20:]) < 0.6 * mean(losses[:20])
    assert sum(cell["net"] == "a" for cell, _ in history[20:]) <= 3
    assert len({tuple(Cell.make(cell).arguments) for cell, _ in history}) == 40


def test_bayes_is_a_function_of_history_index_and_seed(bayes):
    """Every value lies in the file's space; whatever else the history holds is left out or passed over."""
    pytest.importorskip("optuna")
    sweep = bayes()
    history = [(suggest(sweep, [], index, 0), float(index)) for index in range(12)]
    assert suggest(sweep, history, 12, 0) == suggest(sweep, history, 12, 0)
    assert len({repr(suggest(sweep, history, *numbers)) for numbers in ((12, 0), (13, 0), (12, 1))}) == 3
    for cell, _ in history:
        assert list(cell) == list(sweep.parameters)
        assert 1e-4 <= cell["model.optimizer.lr"] <= 1e-2 and cell["net"] in ("a", "b", [1, 2])
        assert cell["n"] in range(1, 10) and cell["one"] == 5
    outside = [({**history[0][0], **other}, 0.0) for other in ({"n": 99}, {"net": "c"}, {"n": "x"})] + [({}, 1.0)]
    failed = [(cell, value) for cell, _ in history[:2] for value in (None, math.nan)]
    assert suggest(sweep, [*outside, *failed], 12, 0) == suggest(sweep, [], 12, 0)
    seeded = [({**cell, "seed_everything": 0}, value) for cell, value in history]
    assert suggest(sweep, seeded, 12, 0) == suggest(sweep, history, 12, 0)


@pytest.mark.parametrize("scored", [6, 3, 0])
def test_bayes_repeats_no_cell_and_ends_with_the_space(sweep, scored):
    """Whether the cells before have a score or still run."""
    pytest.importorskip("optuna")
    small = {"a": {"values": [1, 2, 3]}, "b": {"values": [1, 2]}}
    file, cells = sweep(method="bayes", metric={"name": "fid"}, parameters=small), []
    for index in range(6):
        history = [(cell, float(i)) for i, cell in enumerate(cells[:scored])]
        cells.append(suggest(file, history, index, 0, running=cells[scored:]))
    assert len({repr(cell) for cell in cells}) == 6
    assert suggest(file, [(cell, 0.0) for cell in cells], 6, 0) is None
