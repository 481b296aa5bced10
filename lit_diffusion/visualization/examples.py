"""Pictures of examples of any shape: images as grids, points of the plane as clouds, sequences as rasters."""

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from lit_diffusion.visualization import images as pictures
from lit_diffusion.visualization.palette import BLUE

WIDTH, HEIGHT = 3.4, 3.8  # of a plot, inches: higher than wide, so that a square plot leaves room for its title


def grid(x: Tensor, extent: float = 1.0, rows: Sequence[str] = ()) -> Image.Image:
    """A picture of examples (N, *): images in [-extent, extent] as the squarest grid, row by row, or all points or
    sequences in one plot.

    rows: names of rows to which images belong in turn: image i to row i modulo their number.
    """
    x = as_pictures(x)
    if x.ndim == 4 and 1 < len(rows) <= len(x):
        count = len(x) // len(rows)
        return pictures.rows([x[i :: len(rows)][:count] / extent for i in range(len(rows))], rows)
    if x.ndim == 4:
        return pictures.grid(x / extent, math.isqrt(len(x) - 1) + 1)
    return panels([x], [""], extent)


def chain(columns: Sequence[Tensor], labels: Sequence[str], extent: float = 1.0) -> Image.Image:
    """Examples (N, *) at successive steps from left to right, a label above each column."""
    columns = [as_pictures(x) for x in columns]
    if columns[0].ndim == 4:
        return pictures.chain([x / extent for x in columns], labels)
    chosen = sorted({0, len(columns) // 2, len(columns) - 1})  # beginning, middle and end
    return panels([columns[i] for i in chosen], [labels[i] for i in chosen], extent)


def as_pictures(x: Tensor) -> Tensor:
    """Examples (N, *) of any shape as images (N, C, H, W), points or sequences (N, D): volumes are images whose slices
    are channels, and other shapes are written out as one sequence.
    """
    if x.ndim > 4:
        return x.flatten(1, -3)
    return x if x.ndim == 4 else x.flatten(1)


def panels(columns: Sequence[Tensor], titles: Sequence[str], extent: float = 1.0) -> Image.Image:
    """Plots side by side, with common axes: histograms of numbers (N, 1), points (N, 2), or sequences (N, D), whose
    values are black at extent and white at -extent.
    """
    figure, plots = side_by_side(len(columns), titled=any(titles))
    arrays = [x.float().cpu().numpy() for x in columns]
    limit = max(3.0, *(float(np.abs(a).max()) for a in arrays))
    for axes, array, title in zip(plots, arrays, titles):
        if array.shape[1] == 1:
            draw_histogram(axes, array[:, 0], limit)
        elif array.shape[1] == 2:
            draw_points(axes, array, limit)
        else:
            draw_raster(axes, array, extent)
        axes.set_title(title, fontsize=10)
    return rendered(figure)


def drift(points: Sequence[Tensor], arrows: Sequence[Tensor], titles: Sequence[str]) -> Image.Image:
    """Fields of arrows (N, 2) at points (N, 2), side by side  (Sohl-Dickstein et al. 2015, figure 1)."""
    figure, plots = side_by_side(len(points))
    for axes, at, arrow, title in zip(plots, points, arrows, titles):
        x, y, dx, dy = (column.numpy() for column in (*at.float().cpu().T, *arrow.float().cpu().T))
        axes.quiver(x, y, dx, dy, color=BLUE, angles="xy")
        axes.set_aspect("equal")
        axes.set_title(title, fontsize=10)
    return rendered(figure)


def side_by_side(count: int, titled: bool = True) -> tuple[Figure, Sequence[Axes]]:
    """A figure with `count` plots side by side, with room for a title above each if they are `titled`."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(WIDTH * count, HEIGHT if titled else WIDTH), layout=layout)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def draw_points(axes: Axes, points: np.ndarray, limit: float) -> None:
    """A cloud of points (N, 2), both axes from -limit to limit."""
    axes.scatter(points[:, 0], points[:, 1], s=2, color=BLUE, alpha=0.5, linewidths=0)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")


def draw_histogram(axes: Axes, numbers: np.ndarray, limit: float, bins: int = 80) -> None:
    """The density of numbers (N,), from -limit to limit."""
    axes.hist(numbers, bins, range=(-limit, limit), density=True, color=BLUE)
    axes.set(xlim=(-limit, limit), yticks=[])


def draw_raster(axes: Axes, sequences: np.ndarray, extent: float, most: int = 60) -> None:
    """One sequence (D,) per row, dark where it is high: at most `most` of (N, D)."""
    axes.imshow(sequences[:most], cmap="Greys", aspect="auto", interpolation="nearest", vmin=-extent, vmax=extent)
    axes.set(xlabel="dimension", ylabel="example")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def rendered(figure: Figure) -> Image.Image:
    """The figure as a picture."""
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    return Image.open(file).convert("RGB")
