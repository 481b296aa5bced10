"""Pages of the Python reference, and docstrings as reStructuredText: part of docs/conf.py."""

import inspect
import re
from importlib import import_module
from pathlib import Path

# Which public names the reference has, by room of the package, and in which order.
ROOMS = {
    "api": "Load, train and score",
    "diffusion": "Mathematics of diffusion",
    "nn": "Networks",
    "data": "Data sets",
    "modules": "What is trained",
    "metrics": "Scores of samples",
    "callbacks": "Callbacks",
    "callbacks.predict": "Predictions",
    "baselines": "Other families",
}
INDEX = """Python reference
================

Every public class, from its docstring, by the room of the package that exports it. Each can be named in a
configuration, built in Python, or replaced by :doc:`one of yours </docs/extending>`; :doc:`/docs/mathematics` maps
formulas to them.

.. toctree::

"""


def write_reference(folder: Path) -> None:
    """A page for each of ROOMS, with a section for each of its files."""
    folder.mkdir(exist_ok=True)
    pages = {"index": INDEX + "".join(f"   {room}\n" for room in ROOMS)}
    for room, name in ROOMS.items():
        pages[room] = title(name, "=") + page(import_module(f"lit_diffusion.{room}"))
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:  # Sphinx reads again what is newer
            path.write_text(text)


def page(module) -> str:
    """The exported names by the file that defines them."""
    files: dict[str, list[str]] = {}
    for name in module.__all__:
        defined = getattr(module, name).__module__
        if room_of(defined) == module.__name__:
            files.setdefault(defined, []).append(name)
    text = ".. currentmodule:: " + module.__name__ + "\n\n" + prose(module) + "\n\n"
    for defined, names in sorted(files.items()):
        source = import_module(defined)
        text += title(defined.removeprefix("lit_diffusion.").replace(".", "/") + ".py", "-") + prose(source) + "\n\n"
        for name in sorted(names, key=lambda n: inspect.getsourcelines(getattr(source, n))[1]):
            kind = "autoclass" if inspect.isclass(getattr(module, name)) else "autofunction"
            text += f".. {kind}:: {name}\n" + "   :members:\n   :show-inheritance:\n" * (kind == "autoclass") + "\n"
    return text


def room_of(module: str) -> str:
    """The deepest of ROOMS that holds a module."""
    names = [f"lit_diffusion.{room}" for room in ROOMS]
    return max((name for name in names if module.startswith(name + ".")), key=len, default="")


def title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def prose(module) -> str:
    return "\n".join(as_rst((inspect.getdoc(module) or "").splitlines()))


def as_rst(lines: list[str]) -> list[str]:
    """Our docstrings: prose with `code`, lists of `name: text` whose further lines are indented, `Args:`, doctests."""
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = paragraph.split("\n")
        if rows[0].startswith(">>>"):
            out += [*rows, ""]
            continue
        items = rows[0] in ("Args:", "Raises:", "Returns:")
        if items:
            out += [f"**{rows[0][:-1]}**", ""]
            rows = inspect.cleandoc("\n".join(rows[1:])).split("\n")
        items = items or (rows[0][:1] != " " and any(row.startswith("    ") for row in rows))
        for row in rows:
            text = escape(row)
            if items and not row.startswith(" "):
                text = "- " + re.sub(r"^([\w\\, ]+): ", r"**\1**: ", text)
            out.append("  " + text.strip() if items and row.startswith(" ") else text)
        out.append("")
    return out


def escape(text: str) -> str:
    """No markup but `code`: none in x_0 | x_t or 2 * 3."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(f"`{part}`" if part[:1] == "`" else re.sub(r"([\\*|_`])", r"\\\1", part) for part in parts)
