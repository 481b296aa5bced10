"""In what the runs behind the rows were trained differently, where the layout does not say so."""

from collections.abc import Sequence

from lit_diffusion.config.keys import is_within
from lit_diffusion.config.relevance import CHECKPOINT, Settings, affects_training, find_differences, identify
from lit_diffusion.table.model import TableRow
from lit_diffusion.table.phrases import first_few, said
from lit_diffusion.table.repetitions import checkpoint, short_paths
from lit_diffusion.table.rows import format_setting


def differences(
    rows: Sequence[TableRow], scores: Sequence[str], row_keys: Sequence[str]
) -> tuple[list[str], list[str]]:
    """A line for every setting of the training in which rows differ, though it does not make the rows; and these."""
    shown_rows = [row for row in rows if row.experiment and any(row.measured(score) for score in scores)]
    settings = [(row.name, _of_training(row)) for row in shown_rows]
    keys = [key for key in find_differences([one for _, one in settings]) if not is_within(key, row_keys)]
    lines = {}
    for key in keys:
        values: dict[str, list[str]] = {}
        for name, one in settings:
            values.setdefault(format_setting(one[key]) if key in one else "not given", []).append(name)
        lines[key] = f"rows were trained differently: {key} is {said(values)}"
    return [*first_few(lines, "rows were trained differently in"), *_checkpoints(shown_rows, row_keys)], keys


def _of_training(row: TableRow) -> Settings:
    settings = row.experiment.settings if row.experiment else {}
    return {key: value for key, value in settings.items() if affects_training(key)}


def _checkpoints(rows: Sequence[TableRow], row_keys: Sequence[str]) -> list[str]:
    """A line where rows of the same training and the same seed have scored different checkpoints."""
    files: dict[tuple[str, int | None], dict[str, list[str]]] = {}
    for row in rows:
        for run in row.experiment.runs if row.experiment else []:
            file = checkpoint(run)
            if file is not None:
                files.setdefault((identify(_of_training(row)), run.seed), {}).setdefault(file, []).append(row.name)
    found = [one for one in files.values() if len(one) > 1]
    if not found or CHECKPOINT in row_keys:
        return []
    names = short_paths(found[0])
    more = f", and {len(found) - 1} more trainings" if found[1:] else ""
    values = {names[file]: rows for file, rows in found[0].items()}
    return [f"rows are of different checkpoints of one training: {CHECKPOINT} is {said(values)}{more}"]
