"""How examples of any shape are shown: images as grids, points of the plane as clouds, sequences as rasters."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from lit_diffusion.visualization import images as pictures

BLUE = "#1f5fa8"
WIDTH, HEIGHT = 3.4, 3.8  # of a plot, inches: a square one must not reach into its title


def grid(x: Tensor, columns: int, extent: float = 1.0) -> Image.Image:
    """A picture of examples (N, *): images in [-extent, extent] row by row, or all points or sequences in one plot."""
    if x.ndim == 4:
        return pictures.grid(x / extent, columns)
    return panels([x], [""])


def chain(columns: Sequence[Tensor], labels: Sequence[str], extent: float = 1.0) -> Image.Image:
    """Examples (N, *) as they develop from left to right, a label above each column."""
    if columns[0].ndim == 4:
        return pictures.chain([x / extent for x in columns], labels)
    chosen = sorted({0, len(columns) // 2, len(columns) - 1})  # beginning, middle and end
    return panels([columns[i] for i in chosen], [labels[i] for i in chosen])


def panels(columns: Sequence[Tensor], titles: Sequence[str]) -> Image.Image:
    """Plots side by side, of points (N, 2) or of sequences (N, D), with common axes."""
    figure, axes = plots(len(columns), titled=any(titles))
    arrays = [x.float().cpu().numpy() for x in columns]
    for one, array, title in zip(axes, arrays, titles):
        if array.shape[1] == 2:
            draw_points(one, array, limit=max(3.0, *(float(np.abs(a).max()) for a in arrays)))
        else:
            draw_raster(one, array)
        one.set_title(title, fontsize=10)
    return rendered(figure)


def drift(points: Sequence[Tensor], arrows: Sequence[Tensor], titles: Sequence[str]) -> Image.Image:
    """Fields of arrows (N, 2) at points (N, 2), side by side  (Sohl-Dickstein et al. 2015, figure 1)."""
    figure, axes = plots(len(points))
    for one, at, arrow, title in zip(axes, points, arrows, titles):
        at, arrow = at.float().cpu().numpy(), arrow.float().cpu().numpy()
        one.quiver(*at.T, *arrow.T, color=BLUE, angles="xy")
        one.set(aspect="equal", title=title)
        one.title.set_fontsize(10)
    return rendered(figure)


def plots(count: int, titled: bool = True) -> tuple[Figure, Sequence[Axes]]:
    """A figure with that many plots side by side, and room for a title above each if they are `titled`."""
    figure = Figure(figsize=(WIDTH * count, HEIGHT if titled else WIDTH), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def draw_points(axes: Axes, points: np.ndarray, limit: float) -> None:
    """A cloud (N, 2) within [-limit, limit] of both axes."""
    axes.scatter(*points.T, s=2, color=BLUE, alpha=0.5, linewidths=0)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")


def draw_raster(axes: Axes, sequences: np.ndarray, most: int = 60) -> None:
    """One sequence (D,) a row, dark where it is high: at most so many of (N, D)."""
    axes.imshow(sequences[:most], cmap="Greys", aspect="auto", interpolation="nearest", vmin=-1, vmax=1)
    axes.set(xlabel="bin", ylabel="sequence")


def rendered(figure: Figure) -> Image.Image:
    """The figure as a picture."""
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    return Image.open(file).convert("RGB")
