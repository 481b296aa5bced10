"""How scores were measured: what all have in common, in a sentence a family, and where rows do not agree."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lit_diffusion.config.keys import is_within
from lit_diffusion.table.model import TableRow
from lit_diffusion.table.phrases import first_few, listed, more_rows, said, some
from lit_diffusion.table.repetitions import NOT_GIVEN, RANDOM, STEP
from lit_diffusion.table.runs import Score
from lit_diffusion.table.scores import known

SEEDS = RANDOM | {"step"}  # fields that make other random numbers, and how long a run was
# Fields of a protocol that follow from settings: where these tell rows apart, the fields may differ as well.
EXPLAINED = {
    "sampler": ("model.sampler",),
    "steps": ("model.sampler.steps",),
    "eta": ("model.sampler.eta",),
    "nfe": ("model.sampler.steps", "model.reverse.process.schedule.num_steps"),
    "T": ("model.reverse.process.schedule.num_steps",),
    "variance": ("model.reverse.variance",),
    "clip_x_0": ("model.reverse.clip_x_0",),
    "precision": ("trainer.precision",),
    "step": (STEP, "trainer.max_steps", "trainer.max_epochs", "trainer.max_time"),
}
Protocol = Mapping[str, Any]


def disagreements(rows: Sequence[TableRow], scores: Sequence[str], row_keys: Sequence[str]) -> list[str]:
    """A line for every field of a protocol in which rows differ, though no setting that makes the rows explains it."""
    lines: dict[str, dict[str, list[str]]] = {}  # by field: what is said, and the scores of which it is
    absent: dict[str, list[str]] = {}  # by the rows without them: fields
    for score in scores:
        measured = [(row.name, [one.protocol for one in row.measured(score)]) for row in rows if row.measured(score)]
        for field in dict.fromkeys(field for _, found in measured for one in found for field in one):
            if field in RANDOM or any(is_within(setting, row_keys) for setting in EXPLAINED.get(field, ())):
                continue
            values: dict[str, list[str]] = {}
            for name, found in measured:
                values.setdefault(listed(one.get(field, NOT_GIVEN) for one in found), []).append(name)
            if len(values) == 2 and NOT_GIVEN in values:
                fields = absent.setdefault(some(values[NOT_GIVEN]), [])
                fields += [field] if field not in fields else []
            elif len(values) > 1:
                lines.setdefault(field, {}).setdefault(said(values), []).append(known(score).title)
    told = {
        field: "rows do not compare in "
        + "; ".join(f"{', '.join(titles)}: {field} is {what}" for what, titles in parts.items())
        for field, parts in lines.items()
    }
    missing = [f"rows may not compare: {names} does not say its {listed(own)}" for names, own in absent.items()]
    return [*first_few(told, "rows do not compare either in"), *missing]


def different_steps(rows: Sequence[TableRow], scores: Sequence[str]) -> list[str]:
    """A line where seeds are averaged that have not been trained equally long."""
    found: dict[str, str] = {}
    for row in rows:
        for score in scores:
            steps = sorted({str(one.protocol["step"]) for one in row.measured(score) if "step" in one.protocol})
            if len(steps) > 1:
                found.setdefault(row.name, ", ".join(sorted(steps, key=lambda text: (len(text), text))))
    if not found:
        return []
    name, several = next(iter(found.items()))
    more = f", and {more_rows(len(found) - 1)}" if len(found) > 1 else ""
    return [f"seeds are averaged that were scored after different training steps: {name} ({several}){more}"]


def sentences(rows: Sequence[TableRow], scores: Sequence[str], spread: Sequence[str]) -> Iterator[str]:
    """What all scores of a family have in common. spread: the scores whose ± of a single seed is to be explained."""
    measured = {score: [one for row in rows for one in row.measured(score)] for score in scores}
    measured = {score: found for score, found in measured.items() if found}
    bound = [score for score in measured if score.startswith("bits_per_dim")]
    images = [score for score in measured if score not in bound and "features" in measured[score][0].protocol]
    windows = [score for score in measured if "window" in measured[score][0].protocol]
    others = [score for score in measured if score not in {*bound, *images, *windows}]
    families = (images, _of_images), (bound, _of_bound), (windows, _of_windows), (others, _of_others)
    for family, describe in families:
        if family:
            common = _common(one.protocol for score in family for one in measured[score])
            titles = ", ".join(known(score).title for score in family)
            parts = [
                *describe(common, {score: measured[score] for score in family}),
                *_spreads(family, measured, spread),
            ]
            if parts:
                yield f"{titles}: {'; '.join(parts)}"


def _common(protocols: Iterator[Protocol]) -> dict[str, Any]:
    """The fields that are the same wherever they stand."""
    values: dict[str, Any] = {}
    several: set[str] = set()
    for protocol in protocols:
        for field, value in protocol.items():
            if values.setdefault(field, value) != value:
                several.add(field)
    return {field: value for field, value in values.items() if field not in several}


def _of_images(common: Protocol, family: Mapping[str, list[Score]]) -> Iterator[str]:
    yield from _filled(
        common,
        "{samples} samples",
        "{sampler} in {nfe} steps" if "nfe" in common else "{sampler}",
        "{weights} weights",
        "features {features}",
    )
    references = {
        score: str(_common(one.protocol for one in found).get("reference", ""))
        for score, found in family.items()
        if "reference" in found[0].protocol
    }
    if all(references.values()):
        if len(set(references.values())) == 1:
            yield f"against {next(iter(references.values()))}"
        else:
            yield ", ".join(f"{known(score).title} against {reference}" for score, reference in references.items())
    yield from _filled(common, "{protocol} ({quantisation})", "{neighbours} neighbours")


def _of_bound(common: Protocol, family: Mapping[str, list[Score]]) -> Iterator[str]:
    yield "upper bound in bits/dim"
    yield from _filled(common, "{terms} of T = {T} terms an image", "{levels} levels", "{weights} weights")
    splits = {(str(p["split"]), str(p["images"])) for found in family.values() for p in (one.protocol for one in found)
              if "split" in p and "images" in p}  # fmt: skip
    if splits and len(splits) == len({split for split, _ in splits}):
        yield " and ".join(f"{images} {split} images" for split, images in sorted(splits))


def _of_windows(common: Protocol, family: Mapping[str, list[Score]]) -> Iterator[str]:
    yield from _filled(
        common,
        "{unit}",
        "{window} windows on {samples} samples",
        "sigma {sigma}, the best for {sigma_from}",
        "values on the scale {values}" if common.get("values") != "as they are" else "values as they are",
        "{sampler} in {nfe} steps",
        "{weights} weights",
        "{images} {split} images",
    )


def _of_others(common: Protocol, family: Mapping[str, list[Score]]) -> Iterator[str]:
    yield from (f"{field} {value}" for field, value in common.items() if field not in SEEDS | {"spread"})


def _filled(common: Protocol, *texts: str) -> Iterator[str]:
    """The texts whose fields all scores agree in."""
    for text in texts:
        try:
            yield text.format_map(common)
        except KeyError:
            continue


def _spreads(family: Sequence[str], measured: Mapping[str, list[Score]], shown: Sequence[str]) -> Iterator[str]:
    """What ± is where there is one seed."""
    said: dict[str, list[str]] = {}
    for score in family:
        common = _common(one.protocol for one in measured[score])
        if score in shown and "spread" in common:
            spread = str(common["spread"])
            for field in ("splits", "subsets"):
                spread = spread.replace(f"over {field}", f"over {common.get(field, '')} {field}".replace("  ", " "))
            said.setdefault(spread, []).append(known(score).title)
    for spread, titles in said.items():
        of = "" if len(titles) == len(family) else f" of {', '.join(titles)}"
        yield f"±{of} of one seed is the {spread}"
