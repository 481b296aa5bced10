"""The notes below a table: how its numbers were measured, over how many seeds, and how they compare with a paper's."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lit_diffusion.table.experiment import FINISHED, RANDOM, STEP, group
from lit_diffusion.table.known_scores import describe_score
from lit_diffusion.table.layout import Column
from lit_diffusion.table.rows import TableRow, format_setting
from lit_diffusion.table.runs import Measurement

HIDDEN = RANDOM | {STEP, "spread"}
Protocol = Mapping[str, Any]
Family = Mapping[str, list[Measurement]]  # by score


def make_notes(rows: Sequence[TableRow], columns: Sequence[Column]) -> list[str]:
    """All notes, in order."""
    ours = [column for column in columns if not column.paper]
    scores = list(dict.fromkeys(score for column in ours for score in column.scores))
    with_spread = [score for column in ours if column.spread for score in column.scores]
    of_one_seed = [score for score in with_spread if any(_has_own_spread(row, score) for row in rows)]
    return [
        *_describe_protocols(rows, scores, of_one_seed),
        *_count_seeds(rows, scores),
        *(note for row in rows for note in _describe_failures(row, _list_shown(row, columns))),
        *_compare_with_papers(rows, columns, scores),
        *_repeat_caveats(rows, columns),
    ]


def _has_own_spread(row: TableRow, score: str) -> bool:
    """Whether the ± of a number is the spread of the single measurement behind it."""
    measured = row.measured(score)
    return len(measured) == 1 and measured[0].std is not None


def _list_titles(scores: Sequence[str]) -> str:
    return ", ".join(describe_score(score).title for score in scores)


def _describe_protocols(rows: Sequence[TableRow], scores: Sequence[str], of_one_seed: Sequence[str]) -> Iterator[str]:
    """For each family of scores, what their protocols share. of_one_seed: scores whose ± is to be explained."""
    families: dict[Callable[[Protocol, Family], Iterator[str]], dict[str, list[Measurement]]] = {
        describe: {} for describe in (_describe_samples, _describe_bound, _describe_windows, _describe_others)
    }
    for score in scores:
        if measured := [one for row in rows for one in row.measured(score) if one.protocol]:  # facts have none
            families[_choose_description(score, measured[0].protocol)][score] = measured
    for describe, family in families.items():
        common = _find_common(one.protocol for measured in family.values() for one in measured)
        parts = [*describe(common, family), *_describe_spreads(family, of_one_seed)] if family else []
        if parts:
            yield f"{_list_titles(list(family))}: {'; '.join(parts)}"


def _choose_description(score: str, protocol: Protocol) -> Callable[[Protocol, Family], Iterator[str]]:
    if score.startswith(("bits_per_dim", "iw_bits_per_dim")):
        return _describe_bound
    if "features" in protocol:
        return _describe_samples
    return _describe_windows if "window" in protocol else _describe_others


def _find_common(protocols: Iterator[Protocol]) -> dict[str, Any]:
    """The fields with one value in all protocols that have them."""
    values = group(item for protocol in protocols for item in protocol.items())
    return {field: found[0] for field, found in values.items() if all(value == found[0] for value in found)}


def _describe_samples(common: Protocol, family: Family) -> Iterator[str]:
    """FID and its kin."""
    yield from _fill(
        common,
        "{samples} samples",
        "{sampler} in {nfe} steps" if "nfe" in common else "{sampler}",
        "{weights} weights",
        "features {features}",
    )
    references = {
        score: str(_find_common(one.protocol for one in measured).get("reference", ""))
        for score, measured in family.items()
        if "reference" in measured[0].protocol
    }
    if references and all(references.values()):
        if len(set(references.values())) == 1:
            yield f"against {next(iter(references.values()))}"
        else:
            yield ", ".join(f"{_list_titles([score])} against {reference}" for score, reference in references.items())
    yield from _fill(common, "{protocol} ({quantisation})", "{neighbours} neighbours")


def _describe_bound(common: Protocol, family: Family) -> Iterator[str]:
    yield "upper bound in bits/dim"
    yield from _fill(common, "{bound}", "{terms} of T = {T} terms per image", "{draws} draws per image")
    yield from _fill(common, "{levels} levels", "{weights} weights")
    protocols = [one.protocol for measured in family.values() for one in measured]
    images = group((str(p["split"]), str(p["images"])) for p in protocols if "split" in p and "images" in p)
    if images and all(len(set(found)) == 1 for found in images.values()):
        yield " and ".join(f"{found[0]} {split} images" for split, found in sorted(images.items()))


def _describe_windows(common: Protocol, family: Family) -> Iterator[str]:
    """Parzen windows."""
    yield from _fill(
        common,
        "{unit}",
        "{window} windows on {samples} samples",
        "sigma {sigma}, the best for {sigma_from}",
        "values on the scale {values}" if common.get("values") != "as they are" else "values as they are",
        "{sampler} in {nfe} steps",
        "{weights} weights",
        "{images} {split} images",
    )


def _describe_others(common: Protocol, family: Family) -> Iterator[str]:
    yield from (
        f"{field} {format_setting(value)}" for field, value in common.items() if field not in RANDOM | {STEP, "spread"}
    )


def _fill(common: Protocol, *texts: str) -> Iterator[str]:
    """The texts all of whose fields are common and not null."""
    values = {field: format_setting(value) for field, value in common.items() if value is not None}
    for text in texts:
        try:
            yield text.format_map(values)
        except KeyError:
            continue


def _describe_spreads(family: Family, of_one_seed: Sequence[str]) -> Iterator[str]:
    """What ± means for a single seed."""
    found = []
    for score, measured in family.items():
        common = _find_common(one.protocol for one in measured)
        if score in of_one_seed and "spread" in common:
            spread = str(common["spread"])
            for field in ("splits", "subsets"):
                spread = spread.replace(f"over {field}", f"over {common.get(field, '')} {field}".replace("  ", " "))
            found.append((spread, score))
    for spread, scores in group(found).items():
        of = "" if len(scores) == len(family) else f" of {_list_titles(scores)}"
        yield f"±{of} of one seed is the {spread}"


def _count_seeds(rows: Sequence[TableRow], scores: Sequence[str]) -> Iterator[str]:
    """How many seeds the means are over."""
    counts = group((max((len(row.measured(score)) for score in scores), default=0), row.name) for row in rows)
    counts.pop(0, None)
    for seeds, names in sorted(counts.items()):
        if seeds > 1:
            where = f"{'; '.join(names)}: " if len(counts) > 1 else ""
            yield f"{where}mean ± standard deviation over {seeds} seeds"


def _list_shown(row: TableRow, columns: Sequence[Column]) -> list[str]:
    """This code's scores with something in their cells: a model that cannot have a score has blank ones."""
    shown = [
        score
        for column, cell in zip(columns, row.cells)
        if not column.paper
        for score, number in zip(column.scores, (cell.first, cell.second))
        if number.status
    ]
    return list(dict.fromkeys(shown))


def _describe_failures(row: TableRow, scores: Sequence[str]) -> Iterator[str]:
    """Why a run diverged, or how many of several seeds have no number."""
    if row.experiment is None:
        return
    runs = row.experiment.runs
    if len(runs) == 1:
        if runs[0].status == "diverged" and runs[0].reason:
            yield f"{row.name} diverged: {runs[0].reason}"
        return
    found = [
        (f"{count} of {len(runs)} seeds {state}", score)
        for score in scores
        for state, count in Counter(row.experiment.states(score)).items()
        if state != FINISHED
    ]
    for failure, of_scores in group(found).items():
        yield f"{row.name}: {failure}" + (f" ({_list_titles(of_scores)})" if len(of_scores) < len(scores) else "")


def _compare_with_papers(rows: Sequence[TableRow], columns: Sequence[Column], scores: Sequence[str]) -> Iterator[str]:
    """The source of the paper's numbers, and how this code's were measured differently."""
    if not any(column.paper for column in columns):
        return
    for source, protocol in {row.paper.source: row.paper.protocol for row in rows if row.paper}.items():
        yield f"columns of the paper: {source}; the others: this code's runs"
        differences = []
        for field, theirs in protocol.items():
            ours = sorted({str(value) for value in _get_values(rows, scores, field)} - {theirs})
            if ours:
                differences.append(f"{field} {', '.join(ours)} instead of {theirs}")
        if differences:
            yield f"this code's numbers and the paper's do not compare: {'; '.join(differences)}"


def _get_values(rows: Sequence[TableRow], scores: Sequence[str], field: str) -> Iterator[Any]:
    """The values of a field of the protocol, or otherwise of a setting, behind this code's numbers."""
    for row in rows:
        for one in (one for score in scores for one in row.measured(score)):
            if field in one.protocol:
                yield one.protocol[field]
            elif row.experiment and field in row.experiment.settings:
                yield row.experiment.settings[field]


def _repeat_caveats(rows: Sequence[TableRow], columns: Sequence[Column]) -> Iterator[str]:
    for score in dict.fromkeys(score for column in columns for score in column.scores if describe_score(score).caveat):
        if any(row.measured(score) or (row.paper and score in row.paper.scores) for row in rows):
            yield f"{describe_score(score).title}: {describe_score(score).caveat}"
