"""README and docs: links lead somewhere, names exist, and every snippet is run, or parsed by its own parser."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

import lit_diffusion
from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.sweep_file import SweepFile
from lit_diffusion.table.layout_file import read_layout
from tests import snippets
from tests.conftest import ROOT
from tests.snippets import PAGES, blocks, commands

ALL = [*PAGES, ROOT / "CHANGELOG.md"]
TEXT = {page: page.read_text(encoding="utf-8") for page in ALL}
PROSE = {page: re.sub(r"^```.*?^```", "", text, flags=re.S | re.M) for page, text in TEXT.items()}
# which test runs the Python of a page
PYTHON = {
    "README.md": "tests/api/test_python_page.py",
    "docs/python.md": "tests/api/test_python_page.py",
    "docs/extending.md": "tests/training/test_extending_page.py",
    "docs/mathematics.md": "tests/diffusion/test_training_step_page.py",
    "docs/pretrained.md": "tests/interop/test_round_trip.py",
}


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub, and the site, give to headings."""
    headings = re.findall(r"^#+ (.*)$", PROSE[page], re.M)
    plain = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).replace("`", "") for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_exist(page):
    prose = re.sub(r"`[^`\n]*`", "", PROSE[page])
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading"


def test_every_page_has_a_chapter_and_readme_links_to_it():
    """docs/conf.py names each page once; README's list has all but the front page and those below Results."""
    (chapters,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "docs/conf.py").read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CHAPTERS"
    )
    named = [name for pages in chapters.values() for name in pages]
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= set(named)
    assert len(named) == len(set(named))
    assert {f"docs/{page}.md" for page in pages} <= set(re.findall(r"\((docs/\w+\.md)\)", TEXT[ROOT / "README.md"]))


def test_files_and_tests_that_pages_name_exist():
    """Such as those that implement an equation, and those that prove it."""
    folders = ("lit_diffusion", "tests", "docs", "scripts", "benchmarks")
    files = {path.name for folder in folders for path in (ROOT / folder).rglob("*.py")}
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    tests = set(re.findall(r"def (test_\w+)", sources))
    for name in ("mathematics", "lecturers", "architecture", "families"):
        text = TEXT[ROOT / f"docs/{name}.md"]
        assert not set(re.findall(r"\b(\w+\.py)\b", text)) - files - {"__init__.py"}
        assert not set(re.findall(r"`(test_\w+)`", text)) - tests


def test_formulas_have_matching_braces_and_no_bar_in_tables():
    """What GitHub and the site both draw: a bar would end the cell of a table."""
    for page, prose in PROSE.items():
        for line in re.sub(r"`[^`\n]*`", "", prose).splitlines():
            for formula in re.findall(r"\$([^$]+)\$", line):
                assert formula.count("{") == formula.count("}"), f"{page.name}: {formula}"
                assert not (line.startswith("|") and "|" in formula), f"{page.name}: {formula}"


def test_python_of_pages_is_run_by_a_test():
    shown = {page for page, _ in blocks("python")}
    assert shown <= set(PYTHON), "name the test that runs it"
    for page in shown:
        test = ROOT / PYTHON[page]
        assert Path(page).stem in test.read_text(encoding="utf-8"), f"{test.name} does not mention {page}"


def test_yaml_of_pages_is_read_by_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for page, content in blocks("yaml"):
        (tmp_path / "shown.yaml").write_text(content, encoding="utf-8")
        if page == "docs/tables.md":
            read_layout("shown.yaml")
        elif page == "docs/sweeps.md":
            SweepFile.read("shown.yaml")
            assert yaml.safe_load(content) == yaml.safe_load((ROOT / "sweeps/table2.yaml").read_text())
        elif page == "docs/experiments.md":
            snippets.parse_training("fit", ["-c", f"{ROOT}/configs/digits.yaml", "-c", "shown.yaml"])
        else:
            assert page == "docs/extending.md", "say which command reads it"  # tests/training/test_extending_page.py


def test_commands_of_pages_parse(monkeypatch):
    """All options of commands with the same sub-command and base at once; `python -m tests.snippets`: one by one."""
    monkeypatch.chdir(ROOT)
    together: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for _, words in commands():
        if any("my_package" in word or word.endswith("help") for word in words):
            continue  # tests/training/test_extending_page.py, test_settings_help.py
        if not snippets.is_training(words):
            snippets.check(words)
            continue
        files = [words[i + 1] for i, word in enumerate(words) if word == "-c"]
        for file in files:
            snippets.find_config(file)
        rest = [w for i, w in enumerate(words[2:], 2) if w != "-c" and words[i - 1] != "-c"]
        base = "configs/digits.yaml" if "/config.yaml" in files[0] else files[0]
        kind = " ".join(w for w in rest if w.startswith(("--prediction=", "--data=")))
        together[words[1], base, kind] += rest
    for (name, base, _), options in together.items():
        if any(not option.startswith(("--run.", "--ckpt_path")) and option[:2] == "--" for option in options):
            snippets.parse_training(name, ["-c", base, *options])


def test_a_wrong_command_is_noticed():
    for words in (["fit", "-c", "configs/digits.yaml", "--model.samplr=DDIMSampler"], ["fit", "-c", "configs/no.yaml"]):
        with pytest.raises(ConfigError):
            snippets.parse_training(words[0], words[1:])
    for words in (["lit-diffusion", "table", "runs", "--layot", "x"], ["python", "scripts/classify_digits.py", "--no"]):
        with pytest.raises(ConfigError):
            snippets.check(words)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == lit_diffusion.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message", "type", "license", "references"} <= set(citation)
    assert all({"type", "title", "authors", "year"} <= set(entry) for entry in citation["references"])
