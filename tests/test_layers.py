"""The layers in the table of docs/architecture.md: imports point only downward."""

import ast
import re
from pathlib import Path

import pytest

import lit_diffusion

PACKAGE = Path(lit_diffusion.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
ROW = re.compile(r"^\| (\d+) \| (.*) \|$", re.MULTILINE)
# Lowest first. Rooms of one layer do not import each other.
LAYERS = [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in sorted(ROW.findall(PAGE.read_text()))]
TORCH_ONLY = {"baselines", "diffusion", "nn"}
FRAMEWORKS = {"lightning", "wandb", "torchmetrics", "torchvision", "jsonargparse", "omegaconf", "sklearn", "PIL"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, at any depth of the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            if node.module == "lit_diffusion":
                names.update(f"lit_diffusion.{alias.name}" for alias in node.names)
    return names


FILES = sorted(PACKAGE.rglob("*.py"))
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_only_downward(path):
    """A file imports its own room and rooms of lower layers."""
    own = room(path)
    assert own in LEVEL, f"{own} has no layer: add it to the table in docs/architecture.md"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "lit_diffusion" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != own:
            assert LEVEL[parts[1]] < LEVEL[own], f"{path.name} of layer {own} imports {name}"


def test_the_house_has_few_layers_and_few_modules_outside_its_rooms():
    assert len(LAYERS) <= 9
    assert len([path for path in FILES if path.parent == PACKAGE]) <= 6
    assert set(LEVEL) == {room(path) for path in FILES}


def test_no_two_files_share_a_name():
    """A file's name says what it is, whatever its room; `command.py` is the command of its room."""
    names = [path.name for path in FILES if path.name not in ("__init__.py", "command.py")]
    assert sorted(names) == sorted(set(names))


def test_the_page_names_every_file_and_no_other():
    """The plan of files in docs/architecture.md is that of the package."""
    plan = PAGE.read_text().partition("## Files")[2].partition("## Contracts")[0]
    named = set(re.findall(r"\b\w+\.py\b", plan))
    others = [path.name for folder in ("docs", "tests") for path in (PAGE.parents[1] / folder).rglob("*.py")]
    there = {path.name for path in FILES} | set(others)
    assert not named - there
    assert not {path.name for path in FILES} - named - {"__init__.py"}


def test_no_two_classes_share_a_name():
    """Errors, summaries and configurations name classes without their modules."""
    trees = [ast.parse(path.read_text()) for path in FILES]
    names = [node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", [p for p in FILES if room(p) == "runs"], ids=lambda p: p.name)
def test_a_run_on_disk_needs_no_lightning(path):
    """Commands that train nothing read runs in a second."""
    assert "lightning" not in {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in TORCH_ONLY], ids=lambda p: p.name)
def test_the_mathematics_and_the_networks_know_torch_only(path):
    """No framework and no I/O library below the module."""
    assert not {name.split(".")[0] for name in imports(path)} & FRAMEWORKS
