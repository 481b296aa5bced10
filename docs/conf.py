"""The documentation site, by Sphinx: `python -m sphinx -W -c docs . site` in the root of the repository.

The pages are README.md, CONTRIBUTING.md, CHANGELOG.md and the Markdown below docs/, as GitHub shows them, and the
notebooks with their stored outputs; nothing is executed. docs/api/ is written from the docstrings at each build.
"""

import re
import sys
from pathlib import Path

from docutils.nodes import SkipNode

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from reference import as_rst, write_reference  # noqa: E402

project = "lit_diffusion"
author = "the lit_diffusion maintainers"
(project_copyright,) = re.findall(r"^Copyright \(c\) (.*)$", (HERE.parent / "LICENSE").read_text(), re.M)
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**", "notebooks/*.ipynb"]
exclude_patterns = ["**/.ipynb_checkpoints", "docs/_*"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]

# Which pages there are, by chapter of the sidebar. A page that is in none of them fails the build.
CHAPTERS = {
    "Start": ["tutorial", "gallery", "/README"],
    "Teaching": ["lecturers", "mathematics", "notebooks"],
    "Experiments": ["experiments", "python", "data", "sweeps", "tables", "report", "pretrained", "families"],
    "Numbers": ["reproduce", "scores", "results/README", "benchmarks", "comparison"],
    "Code": ["extending", "api/index", "architecture", "security", "faults", "/CONTRIBUTING", "/CHANGELOG"],
}
# Pages below another one.
BELOW = {"docs/results/README": {"Tables": ["*"]}, "docs/notebooks": {"Notebooks": ["../notebooks/*"]}}

# Markdown as GitHub reads it: anchors of headings, formulas between dollars
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_allow_labels = False
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # the default fetches scripts from a server when a page is opened
highlight_language = "none"

autodoc_inherit_docstrings = False  # an override without a docstring says what its base class says
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "code"
python_use_unqualified_type_names = True
maximum_signature_line_length = 100

html_theme = "furo"
html_title = "lit_diffusion"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_extra_path = ["_root"]  # index.html, which leads to the front page
html_css_files = ["katex/katex.min.css", "site.css"]
html_js_files = [("katex/katex.min.js", {"defer": "defer"}), ("site.js", {"defer": "defer"})]
html_math_renderer = "katex"
html_show_sphinx = False
html_copy_source = False


def complete_page(app, name: str, source: list[str]) -> None:
    """What GitHub need not show: tables of contents, and titles that differ from those of all other pages."""
    chapters = CHAPTERS if name == root_doc else BELOW.get(name, {})
    for chapter, pages in chapters.items():
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {chapter}\n\n" + "\n".join(pages) + "\n```\n"
    if name == "README":
        source[0] = source[0].replace("# lit_diffusion\n", "# Overview\n", 1)
    if name.startswith("docs/results/"):
        source[0] = re.sub(r"\A\*\*(.*)\*\*\n", r"# \1: results\n", source[0])


def formula(tag: str):
    """LaTeX for site.js, in an element that only formulas have."""

    def visit(self, node) -> None:
        self.body.append(self.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
        self.body.append(f"{self.encode(node.astext())}</{tag}>")
        raise SkipNode

    return visit


def plain_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def setup(app) -> None:
    app.connect("builder-inited", lambda app: write_reference(HERE / "api"))
    app.connect("source-read", complete_page)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.add_html_math_renderer("katex", (formula("span"), None), (formula("div"), None))
