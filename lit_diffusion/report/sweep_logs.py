"""Cells of a sweep that have a log but no run, because they failed before their first step or have just started."""

from pathlib import Path

from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.report.run_files import list_parts, read_part
from lit_diffusion.runs import summary

LARGEST = 50 * 2**20  # bytes


def find_cells_without_run(folders: list[str]) -> list[str]:
    """A line for each, with the end of its log."""
    lines = []
    for folder in map(Path, folders):
        for name in list_parts(folder, "logs"):
            cell = name.removeprefix("logs/").removesuffix(".log")
            if name == f"logs/{cell}" or (folder / cell / summary.FILE).exists():
                continue
            try:
                log = (read_part(folder, name, LARGEST) or b"").decode("utf-8", errors="replace")
            except ConfigError as error:
                lines.append(f"{cell}: no run yet; its log cannot be shown: {error}")
                continue
            said = [one for line in log.splitlines() if (one := one_line(line))]
            lines.append(f"{cell}: no run yet; its log " + (f"ends with: {said[-1]}" if said else "is empty"))
    return lines
