"""A table in Markdown, LaTeX (package booktabs) and CSV."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lit_diffusion.errors import one_line
from lit_diffusion.table.experiment import FINISHED, Number
from lit_diffusion.table.layout import Label
from lit_diffusion.table.rows import TableCell, TableRow
from lit_diffusion.table.table import Table

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # begin a formula of a spreadsheet
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*|<["})
GREEK = {
    "ε": "epsilon", "μ": "mu", "σ": "sigma", "Σ": "Sigma", "β": "beta", "η": "eta", "θ": "theta", "λ": "lambda",
}  # fmt: skip
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after the \\ of the row before, [ and * would be its arguments
    "*": "{*}",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "‖": r"$\|$",
    "²": "$^2$",
    "μ̃": r"$\tilde\mu$",
    **{letter: f"$\\{name}$" for letter, name in GREEK.items()},
}
SPECIAL = re.compile("|".join(re.escape(text) for text in sorted(LATEX, key=len, reverse=True)))


def escape_markdown(text: str) -> str:
    """A text without Markdown's markup."""
    return text.translate(MARKDOWN)


def escape_latex(text: str) -> str:
    """A text without LaTeX's commands."""
    return SPECIAL.sub(lambda found: LATEX[found[0]], text)


@dataclass(frozen=True)
class Symbols:
    """How a format writes what is not a digit, and emphasises a number."""

    dash: str = "—"
    plus_minus: str = "±"
    escape: Callable[[str], str] = str
    bold: str = "{}"


IN_MARKDOWN = Symbols(escape=escape_markdown, bold="**{}**")
IN_LATEX = Symbols("--", r"$\pm$", escape_latex, r"\textbf{{{}}}")


def format_cell(cell: TableCell, symbols: Symbols = Symbols()) -> str:
    """A cell such as `≤3.75 (3.72)`; empty if there is nothing to show."""
    text = _format_number(cell.first, symbols)
    if cell.second.status and FINISHED in (cell.first.status, cell.second.status):
        text = f"{text} ({_format_number(cell.second, symbols)})"
    return symbols.bold.format(text) if cell.best else text


def _format_number(number: Number, symbols: Symbols) -> str:
    if number.status != FINISHED:
        return symbols.dash if number.status == "diverged" else number.status
    spread = f"{symbols.plus_minus}{number.std_text}" if number.std_text else ""
    return f"{symbols.escape(number.prefix)}{number.text}{spread}"


def list_lines_below(table: Table) -> Iterator[str]:
    """The notes and warnings."""
    yield from table.notes
    yield from (f"warning: {warning}" for warning in table.warnings)


def format_markdown(table: Table) -> str:
    """The table as GitHub displays it."""
    titles = [*table.heads, *(column.title.text for column in table.columns)]
    rules = ["---"] * len(table.heads) + ["---:"] * len(table.columns)
    rows = [list(map(escape_markdown, titles)), rules]
    for row in table.rows:
        labels = [escape_markdown(label.text) for label in row.labels]
        if row.is_heading:
            rows.append([f"*{labels[0]}*", *[""] * (len(titles) - 1)])
        else:
            rows.append([*labels, *(format_cell(cell, IN_MARKDOWN) for cell in row.cells)])
    lines = [f"**{escape_markdown(table.title.text)}**", ""] if table.title else []
    lines += [f"| {' | '.join(row)} |" for row in rows]
    notes = [f"- {escape_markdown(line)}" for line in list_lines_below(table)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def format_latex(table: Table) -> str:
    """A floating table with its notes below."""
    titles = [*map(escape_latex, table.heads), *(_label_in_latex(column.title) for column in table.columns)]
    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        *([f"\\caption{{{_label_in_latex(table.title)}}}"] if table.title else []),
        f"\\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(table.columns)}}}",
        "\\toprule",
        f"{' & '.join(titles)} \\\\",
        "\\midrule",
        *(_row_in_latex(row, len(titles)) for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    if notes := [f"{escape_latex(line)}\\par" for line in list_lines_below(table)]:
        begin = "\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright"
        lines += ["\\par\\medskip", begin, *notes, "\\end{minipage}"]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _row_in_latex(row: TableRow, width: int) -> str:
    labels = [_label_in_latex(label) for label in row.labels]
    if row.is_heading:
        return f"\\multicolumn{{{width}}}{{l}}{{\\textit{{{labels[0]}}}}} \\\\"
    return f"{' & '.join([*labels, *(format_cell(cell, IN_LATEX) for cell in row.cells)])} \\\\"


def _label_in_latex(label: Label) -> str:
    return escape_latex(label.text) if label.latex is None else label.latex


def format_csv(table: Table) -> str:
    """For programs: unrounded numbers, each with columns for its spread, status and number of seeds."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    scores = [f"{'paper ' * column.paper}{score}" for column in table.columns for score in column.scores]
    fields = [f"{score}{field}" for score in scores for field in ("", " std", " status", " seeds")]
    writer.writerow(_disarm(["group", *(head or "row" for head in table.heads), "seeds", *fields]))
    group = ""
    for row in table.rows:
        if row.is_heading:
            group = row.labels[0].text
            continue
        values: list[Any] = []
        for cell, column in zip(row.cells, table.columns):
            for number in (cell.first, cell.second)[: len(column.scores)]:
                values += [number.value, number.std, number.status, number.seeds or ""]
        runs = len(row.experiment.runs) if row.experiment else ""
        writer.writerow([*_disarm([group, *(label.text for label in row.labels)]), runs, *values])
    return file.getvalue()


def _disarm(texts: Sequence[str]) -> list[str]:
    """Texts on single lines, with a quote before those that a spreadsheet would execute; numbers are unchanged."""

    def disarm(text: str) -> str:
        try:
            float(text)
        except ValueError:
            return f"'{text}" if text[:1] in FORMULA else text
        return text

    return [disarm(one_line(text)) for text in texts]
