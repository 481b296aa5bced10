"""notebooks/: every notebook runs in its shortened mode, and what is committed can be shown as it is."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code_of(cell: dict) -> str:
    return "".join(cell["source"])


def test_it_runs_from_end_to_end_when_shortened(path, tmp_path, monkeypatch, capsys):
    """Its assertions hold, nothing is written to standard error, and the figures can be drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUICK", "1")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict[str, object] = {"__name__": "__main__"}
    with matplotlib.rc_context({"backend": "Agg"}):
        for number, cell in enumerate(cell for cell in read(path) if cell["cell_type"] == "code"):
            tree = ast.parse(code_of(cell))
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, f"{path.name}, code cell {number + 1}", "exec"), names)
            if last is not None and hasattr(
                shown := eval(compile(ast.Expression(last.value), path.name, "eval"), names), "_repr_png_"
            ):
                assert shown._repr_png_()
    assert not capsys.readouterr().err


def test_it_can_be_shown_and_opened_anywhere(path):
    """A title, a first cell that installs the package, the outputs of one complete run, and nothing of the machine."""
    cells = read(path)
    assert cells[0]["cell_type"] == "markdown" and code_of(cells[0]).startswith("# ")
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert "QUICK = bool(os.environ.get" in code_of(code[0]) and '"pip", "install"' in code_of(code[0])
    assert any("manual_seed(" in code_of(cell) for cell in code)
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    text = "\n".join(
        "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", [])) for output in outputs
    )
    assert not re.search(r"/(home|root|tmp|work|usr|Users)/|0x[0-9a-f]{6}", text)
    assert path.stat().st_size < 500_000


def test_its_first_cell_installs_the_package_from_a_clone_or_says_that_there_is_none(path, tmp_path, monkeypatch):
    first = next(code_of(cell) for cell in read(path) if cell["cell_type"] == "code")
    commands: list[list[str]] = []
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    with pytest.raises(ImportError, match="lit_diffusion is not installed; clone its repository and %cd to"):
        exec(first, {})
    (tmp_path / "lit_diffusion").mkdir()
    exec(first, {})
    assert commands == [[sys.executable, "-m", "pip", "install", "-q", ".."]]
