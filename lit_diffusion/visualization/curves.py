"""Plots of a score against a cost: a curve with error bars for each way to choose between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from lit_diffusion.visualization.palette import IN_ORDER

STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))


@dataclass(frozen=True)
class ScoreCurve:
    """Points (cost, score, error or None), ascending in cost. A family shares a colour, a kind the style of lines."""

    family: str
    kind: str
    points: Sequence[tuple[float, float, float | None]]


def against_cost(title: str, cost: str, score: str, curves: Sequence[ScoreCurve]) -> Figure:
    """The curves on logarithmic axes, with their errors as bars; cost, score: what the axes show."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    families, kinds = (list(dict.fromkeys(names)) for names in zip(*((curve.family, curve.kind) for curve in curves)))
    for curve in curves:
        x, y, errors = zip(*curve.points)
        style, marker = STYLES[kinds.index(curve.kind) % len(STYLES)]
        bars = [
            (min(error or 0, 0.9 * value), error or 0) for value, error in zip(y, errors)
        ]  # a log axis ends above 0
        color = IN_ORDER[families.index(curve.family) % len(IN_ORDER)]
        label = ", ".join(filter(None, (curve.family, curve.kind)))
        axes.errorbar(
            x, y, list(zip(*bars)), label=label, color=color, linestyle=style, linewidth=1.3, marker=marker,
            markersize=4, capsize=2, elinewidth=0.8,
        )  # fmt: skip
    axes.set(title=title, xlabel=cost, ylabel=score, xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:,g}")
        axis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure
