"""Plots scores against training steps: a line an experiment, whose seeds are thin lines of one colour.

    python scripts/plot_learning_curves.py runs/table2 -o curves.png --scores bits_per_dim/test fid

reads `metrics.csv` of every run below the folders. Tracked scores and, at the last step, those of the end are drawn
alike, so track with the sampler and the number of samples of the end, or use `--tracked`.
"""

import argparse
import csv
import re
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

# of Okabe & Ito 2008, which the colour-blind tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TITLES = {"bits_per_dim/test": "bits/dim, test images", "fid": "FID"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--scores", nargs="+", default=["bits_per_dim/test", "fid"])
    parser.add_argument("--tracked", action="store_true", help="prefer tracked scores to those of the end")
    parser.add_argument(
        "--log-steps", action="store_true", help="a logarithmic axis of steps, on which a power law is a line"
    )
    options = parser.parse_args()
    runs = sorted({file.parent for folder in options.folders for file in folder.rglob("metrics.csv")})
    if not runs:
        parser.error(f"no metrics.csv below {', '.join(map(str, options.folders))}")
    experiments = defaultdict(list)
    for run in runs:
        experiments[re.sub(r",?seed_everything=\d+", "", run.name)].append(run)
    figure = Figure(figsize=(5.2 * len(options.scores), 4.4), layout="constrained")
    for axes, score in zip(figure.subplots(1, len(options.scores), squeeze=False)[0], options.scores):
        for (name, seeds), colour in zip(experiments.items(), COLOURS * len(experiments)):
            for i, run in enumerate(seeds):
                steps, values = read_curve(run / "metrics.csv", score, options.tracked)
                axes.plot(
                    steps, values, color=colour, marker="o", markersize=3, linewidth=1.2, label=None if i else name
                )
        axes.set(xlabel="training steps", title=TITLES.get(score, score), yscale="log")
        if options.log_steps:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:,g}")
            axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_major_formatter("{x:g}")
        low, high = axes.get_ylim()
        axes.yaxis.set_minor_formatter("{x:g}" if high < 50 * low else "")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, which="both")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    figure.savefig(options.out, dpi=130)


def read_curve(file: Path, score: str, tracked: bool) -> tuple[list[int], list[float]]:
    """Steps and values of a score of one run, in order of steps.

    At a step with both a tracked score and one of the end it is the latter, or with `tracked` the former.
    """
    found: dict[str, dict[int, float]] = {score: {}, f"track/{score}": {}}
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            for name, values in found.items():
                if row.get(name):
                    values[int(row["step"])] = float(row[name])
    at_end, during = found.values()
    values = {**at_end, **during} if tracked else {**during, **at_end}
    steps = sorted(values)
    return steps, [values[step] for step in steps]


if __name__ == "__main__":
    main()
