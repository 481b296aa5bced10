"""How scores were measured: what all have in common, in a sentence a family, and where rows do not agree."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lit_diffusion.experiments.table.model import TableRow
from lit_diffusion.experiments.table.runs import Score
from lit_diffusion.experiments.table.scores import known
from lit_diffusion.experiments.table.settings import within

SEEDS = {"seed", "step", "block_size"}  # fields that make other random numbers, and how long a run was
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
}
Protocol = Mapping[str, Any]


def disagreements(rows: Sequence[TableRow], scores: Sequence[str], row_keys: Sequence[str]) -> list[str]:
    """A line for every field of a protocol in which rows differ, though no setting that makes the rows explains it."""
    found: dict[str, list[str]] = {}
    for score in scores:
        measured = [(row.name, one.protocol) for row in rows for one in row.measured(score)]
        for field in dict.fromkeys(field for _, protocol in measured for field in protocol):
            explained = any(within(setting, row_keys) for setting in EXPLAINED.get(field, ()))
            values: dict[str, list[str]] = {}
            for name, protocol in measured:
                values.setdefault(str(protocol.get(field, "not given")), []).append(name)
            if len(values) > 1 and field not in SEEDS and not explained:
                said = ", ".join(f"{value} in {_some(names)}" for value, names in values.items())
                found.setdefault(f"{field} is {said}", []).append(known(score).title)
    return [f"rows do not compare in {', '.join(titles)}: {what}" for what, titles in found.items()]


def _some(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")


def sentences(rows: Sequence[TableRow], scores: Sequence[str], spread: Sequence[str]) -> Iterator[str]:
    """What all scores of a family have in common. spread: the scores whose ± of a single seed is to be explained."""
    measured = {score: [one for row in rows for one in row.measured(score)] for score in scores}
    measured = {score: found for score, found in measured.items() if found}
    bound = [score for score in measured if score.startswith("bits_per_dim")]
    images = [score for score in measured if score not in bound and "features" in measured[score][0].protocol]
    others = [score for score in measured if score not in bound and score not in images]
    for family, describe in ((images, _of_images), (bound, _of_bound), (others, _of_others)):
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
