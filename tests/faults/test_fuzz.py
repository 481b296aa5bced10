"""Configurations, sweep files, layouts and summaries, damaged at random: success, or one line that says what is wrong.

FUZZ_EXAMPLES sets how many of each kind are tried; what fails is printed as the file that did it.
"""

import copy
import json
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.command import main as sweep
from lit_diffusion.sweep.sweep_file import SweepFile
from lit_diffusion.table.command import main as table
from lit_diffusion.training import command as training_cli
from tests.conftest import CONFIGS, ROOT, TINY
from tests.table.table_made import summary

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 0))
MOST_SIZE = 64  # of what a configuration asks for: how large a model is, is the user's choice


def fuzzed(examples: int) -> Callable:
    """The same examples each time, unless FUZZ_EXAMPLES asks for others."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
    )


TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "null", "${", "${x}", "${model}", "${oc.env:HOME}", "\x1b[2J", "a\nb", "é\u202e\U0001f600", "\x00"]
        + [
            "../x",
            "/",
            "-1",
            "1e999",
            "0x10",
            "1_000",
            "class_path",
            "os.system",
            "torch.nn.ReLU",
            "Epsilon",
            "[",
            "{}",
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, MOST_SIZE),
    st.sampled_from([-(10**9), -(10**400), -(2**63), math.nan, math.inf, -math.inf, 1e-320, -0.0, 0.5, 1e308, True]),
    st.floats(-2, 2),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXTS | NUMBERS, part, max_size=3), max_leaves=6
)


def places(content: Any, way: tuple = ()) -> list[tuple]:
    """The ways to all values below the top, as tuples of keys and indices."""
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, part in parts for place in ((*way, key), *places(part, (*way, key)))]


def at(content: Any, way: tuple) -> Any:
    for key in way:
        content = content[key]
    return content


@st.composite
def damaged(draw: st.DrawFn, original: Any, most: int = 3) -> Any:
    """A copy with values replaced, keys dropped, added, renamed or moved."""
    content = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, most))):
        ways = places(content)
        if not ways:
            return content
        way = draw(st.sampled_from(ways))
        around, key = at(content, way[:-1]), way[-1]
        kind = draw(st.sampled_from(["replace", "replace", "replace", "drop", "add", "rename", "nest", "move"]))
        if kind == "replace":
            around[key] = draw(VALUES)
        elif kind == "drop":
            del around[key]
        elif kind == "nest":
            around[key] = draw(
                st.sampled_from([[around[key]], {"class_path": around[key]}, {"init_args": around[key]}])
            )
        elif kind == "move":
            around[key] = copy.deepcopy(at(content, draw(st.sampled_from(ways))))
        elif isinstance(around, dict):
            around[draw(TEXTS | NUMBERS)] = around.pop(key) if kind == "rename" else draw(VALUES)
        else:
            around.append(draw(VALUES))
    return content


@st.composite
def damaged_bytes(draw: st.DrawFn, original: str) -> bytes:
    """The text, cut, with a piece twice, or with other bytes in it."""
    content = original.encode()
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        kind = draw(st.sampled_from(["cut", "twice", "bytes", "end"]))
        middle = {"cut": b"", "end": b"", "twice": content[start:end] * 2}.get(kind)
        if middle is None:
            middle = draw(
                st.binary(max_size=8) | st.sampled_from([b"&a *a", b"!!python/name:os.system", b"\t", b": ", b"- "])
            )
            end = min(end, start + 8)
        content = content[:start] + middle + (b"" if kind == "end" else content[end:])
    return content


def survives(function: Callable, *arguments: Any) -> None:
    """It succeeds, or raises one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*arguments)
    except ConfigError as error:
        note(str(error))
        assert str(error).strip() and "\n" not in str(error)


def is_small(content: Any) -> bool:
    """Whether no number of a configuration asks for a model beyond this machine."""
    if isinstance(content, dict | list):
        return all(map(is_small, content.values() if isinstance(content, dict) else content))
    try:
        return not math.isfinite(float(content)) or float(content) < 10_000
    except (TypeError, ValueError, OverflowError):
        return True


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIT_DIFFUSION_ALLOW", "")


def write(content: Any, name: str = "x.yaml") -> str:
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    else:
        text = json.dumps(content, default=str) if name.endswith("json") else yaml.safe_dump(content, sort_keys=False)
        Path(name).write_text(text, encoding="utf-8", errors="surrogatepass")
        note(text)
    return name


DIGITS = yaml.safe_load((CONFIGS / "digits.yaml").read_text())
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
LAYOUTS = sorted((ROOT / "lit_diffusion/table/layouts").glob("*.yaml"))
OVERLAYS = sorted(CONFIGS.glob("*/*.yaml"))
small = st.sampled_from(OVERLAYS).map(lambda path: yaml.safe_load(path.read_text()))


def checked(*files: str) -> None:
    training_cli.check(["fit", *TINY, *[part for file in files for part in ("-c", file)]])


@fuzzed(16)
@given(damaged(DIGITS))
def test_a_damaged_configuration_is_one_line(content):
    if is_small(content):
        survives(checked, write(content))


@fuzzed(12)
@given(small.flatmap(damaged))
def test_a_damaged_overlay_is_one_line(content):
    if is_small(content):
        survives(checked, write(content))


@fuzzed(15)
@given(damaged_bytes((CONFIGS / "digits.yaml").read_text()))
def test_a_configuration_of_damaged_bytes_is_one_line(content):
    try:
        readable = is_small(yaml.safe_load(content))
    except Exception:
        readable = True
    if readable:
        survives(checked, write(content))


@fuzzed(300)
@given(st.sampled_from(SWEEPS).map(lambda path: yaml.safe_load(path.read_text())).flatmap(damaged))
def test_a_damaged_sweep_file_is_one_line(content):
    def read(name: str) -> None:
        file = SweepFile.read(name)
        if file.method != "bayes":
            assert all(cell.name for cell in file.cells(3))

    survives(read, write(content))


@fuzzed(5)
@given(st.just(yaml.safe_load((ROOT / "sweeps/samplers.yaml").read_text())).flatmap(damaged))
def test_the_cells_of_a_damaged_sweep_file_are_one_line(content):
    survives(sweep, [write(content), *TINY, "--dry-run", "--cells=2"])


@fuzzed(200)
@given(st.sampled_from(SWEEPS).map(Path.read_text).flatmap(damaged_bytes))
def test_a_sweep_file_of_damaged_bytes_is_one_line(content):
    survives(SweepFile.read, write(content))


def tables(layout: str | None = None) -> None:
    """In every format."""
    for name in ("markdown", "latex", "csv", "terminal"):
        table(["runs", "--format", name, *(["--layout", layout] if layout else [])])


def runs(*contents: Any) -> None:
    for number, content in enumerate(contents):
        Path(f"runs/{number}").mkdir(parents=True, exist_ok=True)
        write(content, f"runs/{number}/summary.json")


GOOD = [
    summary(seed, scores={"fid": 8.0 + seed, "bits_per_dim/test": 3.0, "bits_per_dim/train": 2.9}) for seed in (0, 1)
]


@fuzzed(150)
@given(st.sampled_from(LAYOUTS).map(lambda path: yaml.safe_load(path.read_text(encoding="utf-8"))).flatmap(damaged))
def test_a_damaged_layout_is_one_line(content):
    runs(*GOOD)
    survives(tables, write(content))


@fuzzed(100)
@given(st.sampled_from(LAYOUTS).map(lambda path: path.read_text(encoding="utf-8")).flatmap(damaged_bytes))
def test_a_layout_of_damaged_bytes_is_one_line(content):
    runs(*GOOD)
    survives(tables, write(content))


@fuzzed(150)
@given(st.tuples(damaged(GOOD[0]), damaged(GOOD[1])), st.sampled_from([None, "table2", "samplers"]))
def test_a_damaged_summary_is_one_line(contents, layout):
    runs(*contents, GOOD[0])
    survives(tables, layout)


@fuzzed(100)
@given(damaged_bytes(json.dumps(GOOD[0])))
def test_a_summary_of_damaged_bytes_is_one_line(content):
    runs(content)
    survives(tables)
