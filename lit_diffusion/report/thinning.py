"""Long curves with fewer points: the lowest and highest of each stretch, and the means of stretches for smoothing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DIGITS = 5  # significant ones that a chart needs


@dataclass(frozen=True)
class Points:
    """What a chart draws. means: (x, y) of each stretch if points were left out, else nothing; what is smoothed."""

    x: list[float]
    y: list[float]
    means: tuple[list[float], list[float]] = ([], [])


def thin(x: Sequence[float], y: Sequence[float], most: int) -> Points:
    """At most about `most` points, among them every peak that would be seen at that many points."""
    if len(x) <= most:
        return Points(shorten(x), shorten(y))
    kept, mean_x, mean_y = [0], [], []
    for first, last in _stretches(len(x), max(1, most // 2)):
        inside = range(first, last)
        kept += sorted({min(inside, key=y.__getitem__), max(inside, key=y.__getitem__)})
        mean_x.append(math.fsum(x[first:last]) / len(inside))
        mean_y.append(math.fsum(y[first:last]) / len(inside))
    kept = sorted({*kept, len(x) - 1})
    means = shorten(mean_x), shorten(mean_y)
    return Points(shorten([x[index] for index in kept]), shorten([y[index] for index in kept]), means)


def _stretches(count: int, parts: int) -> Iterator[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    return zip(edges, edges[1:])


def shorten(values: Sequence[float]) -> list[float]:
    """Numbers with the digits that a chart needs; whole ones as they are."""
    return [value if isinstance(value, int) else float(f"{value:.{DIGITS}g}") for value in values]
