"""One small table in every format, to the last character."""

import csv
import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from lit_diffusion.table.default_layout import make_default_layout
from lit_diffusion.table.formats import escape_latex
from lit_diffusion.table.layout_file import read_layout
from lit_diffusion.table.runs import find_runs
from lit_diffusion.table.table import make_table
from lit_diffusion.table.terminal import PARTS, WORDS, format_plain, print_table, wrap
from tests.conftest import ROOT
from tests.table.table_made import layout, printed, put, score, summary

LAYOUT = r"""
title: Two_objectives
head: objective
columns:
  - {score: inception_score, digits: 2}
  - {score: fid, digits: 1}
  - {score: fid, paper: true}
  - {score: bits_per_dim/test, with: bits_per_dim/train, title: NLL, digits: 2, spread: false}
rows:
  - {group: ε | prediction, latex: '$\epsilon$ prediction'}
  - {label: L_simple, latex: '$L_{\mathrm{simple}}$', where: {model.objective: Simple}, paper: ddpm/epsilon_simple}
  - {label: L, where: {model.objective: VariationalBound}, paper: ddpm/epsilon_bound_learned}
  - {label: NCSN, paper: ddpm/ncsn}
"""
IMAGES_NOTE = (
    "IS, FID: 1000 samples; AncestralSampler in 1000 steps; ema weights; features digits-classifier; against "
    "Digits:train, 1500 images; TorchFidelity (8 bits); ± of IS of one seed is the standard deviation over 10 splits"
)
BOUND_NOTE = (
    "NLL test, NLL train: upper bound in bits/dim; 20 of T = 1000 terms per image; 297 test images and "
    "1500 train images"
)
DIVERGED_NOTE = "ε | prediction, L diverged: the loss is nan at step 123"
PAPER_NOTE = (
    "columns of the paper: Ho, Jain, Abbeel 2020 (arXiv 2006.11239), Tables 1 and 2; the others: this code's runs"
)
COMPARE_NOTE = (
    "this code's numbers and the paper's do not compare: data Digits instead of CIFAR10; features digits-classifier "
    "instead of inception-v3-compat; samples 1000 instead of 50000"
)
NOTES = [IMAGES_NOTE, BOUND_NOTE, DIVERGED_NOTE, PAPER_NOTE, COMPARE_NOTE]


@pytest.fixture
def arguments(tmp_path):
    scores = {
        "inception_score": score("inception_score", 9.157, 0.149),
        "fid": 8.863,
        "bits_per_dim/test": score("bits_per_dim/test", 2.874, 0.019),
        "bits_per_dim/train": score("bits_per_dim/train", 2.821, 0.007),
    }
    put(tmp_path / "runs" / "a", summary(scores=scores))
    reason = "the loss is nan at step 123"
    put(tmp_path / "runs" / "b", summary(status="diverged", reason=reason,
                                         settings={"model.objective": "VariationalBound"}))  # fmt: skip
    return [tmp_path / "runs", "--layout", layout(tmp_path, LAYOUT)]


def test_plain_text(arguments, capsys):
    """Without a terminal, the best have a star."""
    assert printed(capsys, *arguments).out.splitlines() == [
        "Two_objectives",
        "objective       IS          FID   FID, paper  NLL",
        "ε | prediction",
        "L_simple        9.16±0.15*  8.9*  3.17        ≤2.87 (2.82)*",
        "L               —           —     —           —",
        "NCSN                              25.32",
        "",
        "* best of this code's numbers in its column",
        *NOTES,
    ]


def test_markdown(arguments, capsys):
    assert printed(capsys, *arguments, "--format", "markdown").out.splitlines() == [
        "**Two_objectives**",
        "",
        "| objective | IS | FID | FID, paper | NLL |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| *ε \\| prediction* |  |  |  |  |",
        "| L_simple | **9.16±0.15** | **8.9** | 3.17 | **≤2.87 (2.82)** |",
        "| L | — | — | — | — |",
        "| NCSN |  |  | 25.32 |  |",
        "",
        *(f"- {note}".replace("|", "\\|") for note in NOTES),
    ]


def test_latex(arguments, capsys):
    """Labels of their own; everything else escaped."""
    notes = [note.replace("±", r"$\pm$").replace("ε", r"$\epsilon$").replace("|", r"\textbar{}") for note in NOTES]
    assert printed(capsys, *arguments, "--format", "latex").out.splitlines() == [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Two\_objectives}",
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r"objective & IS & FID & FID, paper & NLL \\",
        r"\midrule",
        r"\multicolumn{5}{l}{\textit{$\epsilon$ prediction}} \\",
        r"$L_{\mathrm{simple}}$ & \textbf{9.16$\pm$0.15} & \textbf{8.9} & 3.17 & \textbf{$\leq$2.87 (2.82)} \\",
        r"L & -- & -- & -- & -- \\",
        r"NCSN &  &  & 25.32 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\medskip",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        *(rf"{note}\par" for note in notes),
        r"\end{minipage}",
        r"\end{table}",
    ]


def test_csv(arguments, capsys):
    """Unrounded, each number with spread, status and number of seeds."""
    found = list(csv.DictReader(io.StringIO(printed(capsys, *arguments, "--format", "csv").out)))
    simple, bound, ncsn = found
    assert (simple["group"], simple["objective"], simple["seeds"]) == ("ε | prediction", "L_simple", "1")
    expected = {"fid": "8.863", "fid std": "", "fid status": "finished", "fid seeds": "1", "paper fid": "3.17"}
    assert {key: simple[key] for key in expected} == expected
    assert (simple["inception_score"], simple["inception_score std"]) == ("9.157", "0.149")
    assert (simple["bits_per_dim/test std"], simple["bits_per_dim/train"]) == ("0.019", "2.821")
    assert (bound["fid"], bound["fid status"], bound["paper fid status"]) == ("", "diverged", "diverged")
    assert (ncsn["paper fid"], ncsn["fid status"], ncsn["seeds"]) == ("25.32", "", "")


def test_a_terminal_shows_the_best_in_bold(arguments):
    """And needs no star."""
    folder, _, name = arguments
    file = io.StringIO()
    table = make_table(read_layout(name), find_runs([str(folder)], print))
    print_table(table, Console(file=file, force_terminal=True, width=120))
    assert "\x1b[1m9.16±0.15\x1b[0m" in file.getvalue() and "*" not in file.getvalue()


def test_latex_escapes_whatever_a_name_holds():
    """Also what would be an argument of the line break of the row before."""
    assert escape_latex(r"50% a_b & #1 $x$ {y} ~ ^ \z") == (
        r"50\% a\_b \& \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}z"
    )
    assert escape_latex("[1]*") == "{[}1]{*}" and escape_latex("μ̃ ≤ —") == r"$\tilde\mu$ $\leq$ ---"


def test_names_of_others_send_nothing_to_the_terminal_and_are_not_markup(tmp_path, capsys):
    """Neither control sequences nor rich's tags."""
    put(tmp_path / "a", summary(settings={"data": "\x1b[2J[bold]x"}, scores={"fid": 1.0}))
    put(tmp_path / "b", summary(scores={"fid": 2.0}))
    out, err = printed(capsys, tmp_path)
    assert "[2J[bold]x" in out and "\x1b" not in out + err


def test_all_columns_are_within_120_characters(tmp_path):
    """Also of the default layout of runs that differ in much; nothing is cut off."""
    known = ("fid", "inception_score", "kid", "precision", "recall", "bits_per_dim/test", "bits_per_dim/train")
    for n, (objective, schedule) in enumerate((("Simple", "LinearSchedule"), ("VariationalBound", "CosineSchedule"))):
        settings = {"model.objective": objective, "model.reverse.process.schedule": schedule, "trainer.max_steps": n}
        scores = {name: score(name, 123.456, 12.345) for name in known}
        put(tmp_path / str(n), summary(settings=settings, scores=scores))
    runs = find_runs([str(tmp_path)], print)
    text = format_plain(make_table(make_default_layout(runs), runs)).split("* best")[0]
    assert max(map(len, text.splitlines())) <= 120 and "…" not in text
    assert all(title in text for title in ("FID", "IS", "KID", "precision", "recall", "NLL test", "(train)"))


CLASSES = ("DiscretizedGaussian", "VariationalBound", "MultiScaleNetwork", "AncestralSampler")


def wide(folder, scores):
    """The plain text of runs that differ in much."""
    for n in range(2):
        settings = {f"model.part{m}": name if n else "Simple" for m, name in enumerate(CLASSES)}
        put(
            folder / str(n),
            summary(settings=settings, scores={name: score(name, 22414.128, 548.1151) for name in scores}),
        )
    runs = find_runs([str(folder)], print)
    return format_plain(make_table(make_default_layout(runs), runs))


def test_names_are_whole_at_120_characters(tmp_path):
    """What is optional is left out first, and said so."""
    text = wide(tmp_path, ("inception_score", "fid", "kid", "precision", "recall"))
    table = text.split("* best")[0]
    assert max(map(len, table.splitlines())) <= 120 and all(name in table.split() for name in CLASSES)
    assert "KID" in table and "recall" not in table and "no room for " in text


def test_where_nothing_else_helps_names_break_inside_between_their_words():
    """And only the longest are cut."""
    assert wrap("DiscretizedGaussian", 12, PARTS) == "Discretized\nGaussian"
    assert wrap("lr=0.001,seed=12", 10, WORDS) == "lr=0.001,\nseed=12"
    assert wrap("22414.1280±548.1151", 12, WORDS) == "22414.1280\n±548.1151"
    assert wrap("abcdefgh ij", 3, PARTS) == "abc\ndef\ngh\nij"


def test_a_narrow_terminal_shows_all(tmp_path):
    put(tmp_path / "a", summary(scores={"fid": 1.0}))
    runs = find_runs([str(tmp_path)], print)
    table = make_table(make_default_layout(runs), runs)
    file = io.StringIO()
    print_table(table, Console(file=file, force_terminal=True, width=5))
    assert "FID" in file.getvalue()


def test_an_encoding_without_the_characters_gets_others(arguments):
    """No traceback, and ASCII that says the same."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "lit_diffusion", "table", *map(str, arguments)]
    made = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert made.returncode == 0 and not made.stderr
    assert "<=2.87 (2.82)*" in made.stdout and "9.16+-0.15*" in made.stdout and "epsilon | prediction" in made.stdout


@pytest.mark.parametrize("suffix, begin", [(".md", "**Two"), (".tex", "% "), (".csv", "group,"), (".txt", "Two_")])
def test_out_guesses_the_format_of_its_suffix(arguments, suffix, begin, tmp_path, capsys):
    """And prints one line that says where."""
    path = tmp_path / f"table{suffix}"
    out, err = printed(capsys, *arguments, "--out", path)
    assert path.read_text().startswith(begin)
    assert out.startswith(f"{path}: 3 rows") and out.count("\n") == 1 and not err
    assert sorted(found.name for found in tmp_path.iterdir()) == ["layout.yaml", "runs", path.name]


def test_the_command_imports_no_torch():
    """So that it answers at once."""
    code = "import sys, lit_diffusion.table.command; print({'torch', 'lightning', 'wandb'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
