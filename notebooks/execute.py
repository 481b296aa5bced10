"""Runs the notebooks from end to end, each in an empty folder, and renews their outputs.

    python notebooks/execute.py [NAME ...]

Stops at the first cell that fails or warns. Needs `pip install -e '.[notebooks]'`. With QUICK=1 in the environment it
is a trial that writes nothing.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with new outputs. Raises CellExecutionError if a cell fails, RuntimeError if one warns."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=None, startup_timeout=600, record_timing=False, resources=place).execute()
    notebook.metadata["language_info"] = {"name": "python"}  # without the version
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/jpeg", None)  # pictures are there as PNG too
            if output.get("name") == "stderr":
                raise RuntimeError(f"{path.name}: a cell wrote to standard error: {output['text']}")
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="notebooks, without .ipynb; by default all")
    names = parser.parse_args().names or sorted(path.stem for path in HERE.glob("*.ipynb"))
    if missing := [name for name in names if not (HERE / f"{name}.ipynb").exists()]:
        sys.exit(f"expected names of notebooks in {HERE}, got {', '.join(missing)}")
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    for name in names:
        path = HERE / f"{name}.ipynb"
        print(name, flush=True)
        notebook = execute(path)
        if not os.environ.get("QUICK"):
            nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
