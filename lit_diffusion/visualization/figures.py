"""Plots of the variational bound by step, and of rate against distortion."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_diffusion.visualization.palette import BLUE, ORANGE


def bound(
    title: str,
    first: np.ndarray,
    last: np.ndarray,
    terms: np.ndarray,
    terms_error: np.ndarray,
    rate: np.ndarray,
    rmse: np.ndarray,
) -> Figure:
    """Left the terms per step; right the error of the estimate of x_0 against the rate  (Ho et al. 2020, figure 5).

    first, last: the range of steps of each row, ascending from 1 to T; terms, terms_error: the sum of its terms and the
    standard error, bits/dim; rate: bits/dim; rmse: on the 0..255 scale. All (k,), NaN if unknown.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2)
    size = last - first + 1
    draw_terms(left, np.append(first, last[-1] + 1) - 0.5, terms / size, terms_error / size)
    finite = np.isfinite(rate) & np.isfinite(rmse)
    right.plot(rate[finite], rmse[finite], color=BLUE, marker="o" if len(rate) <= 100 else None, markersize=3)
    right.set(xlabel="rate, bits/dim", ylabel="RMSE of the estimate of $x_0$ on 0..255", title="Rate and distortion")
    right.set_xlim(left=0)
    right.set_ylim(bottom=0)
    if finite[0]:
        note = f"$t=1$: {rate[0]:.2f} bits/dim, RMSE {rmse[0]:.2f}"
        right.annotate(note, (rate[0], rmse[0]), (0, 25), textcoords="offset points", ha="right", fontsize=9,
                       arrowprops={"arrowstyle": "-", "color": "gray"})  # fmt: skip
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure


def draw_terms(axes: Axes, edges: np.ndarray, terms: np.ndarray, errors: np.ndarray) -> None:
    """L_0 as a point, the other terms per step between edges (k+1,), two standard errors; on log axes if positive."""
    band, label = np.nan_to_num(2 * errors), f"$L_0$ = {terms[0]:.2g}, the decoder's"
    axes.errorbar([1], terms[:1], band[:1], color=ORANGE, marker="o", markersize=4, capsize=3, label=label)
    if len(terms) > 1:
        axes.stairs(terms[1:], edges[1:], baseline=None, color=BLUE, label="$L_{t-1}$, mean over images")
        if np.isfinite(errors).any():
            low, high = terms[1:] - band[1:], terms[1:] + band[1:]
            axes.stairs(high, edges[1:], baseline=low, fill=True, color=BLUE, alpha=0.25, label="± 2 standard errors")
    positive = np.sort(terms[np.isfinite(terms) & (terms > 0)])
    if len(positive):
        lowest = max(positive[0], positive[:2][-1] / 1000)  # an L_0 of 1e-19 would flatten all other terms
        axes.set(xscale="log", yscale="log", ylim=(lowest / 3, positive[-1] * 3))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlim=(0.8, edges[-1]), xlabel="step $t$", ylabel="bits/dim per step", title="Terms of the bound")
    axes.legend(frameon=False, fontsize=9)
