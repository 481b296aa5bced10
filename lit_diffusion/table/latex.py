"""A table in LaTeX, for the package booktabs."""

import re

from lit_diffusion.table.layout import Label
from lit_diffusion.table.model import Table, TableRow
from lit_diffusion.table.render import Symbols, below, cell_text

ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # behind the \\ of the row before, these two would be its arguments
    "*": "{*}",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "‖": r"$\|$",
    "²": "$^2$",
    "μ̃": r"$\tilde\mu$",
    **{
        letter: f"$\\{name}$"
        for letter, name in {
            "ε": "epsilon", "μ": "mu", "σ": "sigma", "Σ": "Sigma", "β": "beta", "η": "eta", "θ": "theta", "λ": "lambda",
        }.items()
    },
}  # fmt: skip
SPECIAL = re.compile("|".join(re.escape(text) for text in sorted(ESCAPES, key=len, reverse=True)))


def latex(table: Table) -> str:
    """A floating table, its notes below it."""
    titles = [*(escaped(head) for head in table.heads), *(_text(column.title) for column in table.columns)]
    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        *([f"\\caption{{{_text(table.title)}}}"] if table.title else []),
        f"\\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(table.columns)}}}",
        "\\toprule",
        f"{' & '.join(titles)} \\\\",
        "\\midrule",
        *(_row(row, len(titles)) for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        *_notes([escaped(line) for line in below(table)]),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(row: TableRow, width: int) -> str:
    labels = [_text(label) for label in row.labels]
    if row.is_heading:
        return f"\\multicolumn{{{width}}}{{l}}{{\\textit{{{labels[0]}}}}} \\\\"
    texts = [cell_text(cell, SYMBOLS) for cell in row.cells]
    texts = [f"\\textbf{{{text}}}" if cell.best else text for text, cell in zip(texts, row.cells)]
    return f"{' & '.join([*labels, *texts])} \\\\"


def _notes(lines: list[str]) -> list[str]:
    if not lines:
        return []
    lines = [f"{line}\\par" for line in lines]
    return ["\\par\\medskip", "\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright", *lines, "\\end{minipage}"]


def _text(label: Label) -> str:
    return escaped(label.text) if label.latex is None else label.latex


def escaped(text: str) -> str:
    """With nothing in it that LaTeX would take for a command."""
    return SPECIAL.sub(lambda found: ESCAPES[found[0]], text)


SYMBOLS = Symbols(dash="--", plus_minus=r"$\pm$", escaped=escaped)
