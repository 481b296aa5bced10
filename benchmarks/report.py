"""How long a report takes to make and to open, and how large it is: python -m benchmarks.report [RUNS [POINTS]].

Makes runs with as many points of four curves, three kinds of pictures at ten steps and the bound. Opens the page in a
headless Chromium, if there is one, until the first charts are drawn.
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from lit_diffusion.report.command import main
from tests.browser import launched, visiting
from tests.report.report_made import put_run

KINDS = ("samples", "chain", "x_0")


def make_runs(folder: Path, runs: int, points: int) -> None:
    """Runs of as many experiments with three seeds each."""
    generator = random.Random(0)
    for number in range(runs):
        run = put_run(
            folder / f"run-{number}",
            seed=number % 3,
            settings={"model.objective.scale": number // 3},
            pictures=False,
        )
        lines = ["images_per_second,step,track/fid,train/loss,val/loss"]
        for step in range(points):
            one, two, three, four = (generator.random() for _ in range(4))
            lines.append(
                f"{300 + one},{10 * step},{9 + two + 99 / (step + 9)},{1 / (step + 9) + three / 50},{0.1 + four / 99}"
            )
        (run / "metrics.csv").write_text("\n".join([*lines, ""]))
        for step in range(1, 11):
            for kind in KINDS:
                # what a picture of 64 digits is like: few levels, each pixel six times
                pixels = bytes(16 * generator.randrange(16) for _ in range(67 * 67))
                image = Image.frombytes("L", (67, 67), pixels).resize((402, 402), Image.Resampling.NEAREST)
                image.convert("RGB").save(run / f"samples/{step * points:08}_{kind}.png", compress_level=1)


def run_benchmark(runs: int = 50, points: int = 10_000) -> None:
    """Prints the times."""
    folder = Path(tempfile.mkdtemp())
    try:
        make_runs(folder / "runs", runs, points)
        main([str(folder / "runs"), f"--out={folder / 'report.html'}"])
        with launched() as browser:
            begin = time.perf_counter()
            with visiting(browser, folder / "report.html") as visit:
                visit.page.evaluate("document.getElementById('curves').scrollIntoView()")
                visit.page.wait_for_selector("[data-chart='3'] canvas")
                print(f"opened, with four charts, in {time.perf_counter() - begin:.1f} s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    run_benchmark(*map(int, sys.argv[1:]))
