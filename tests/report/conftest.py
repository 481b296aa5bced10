"""A browser, and the page of two experiments, for all tests of pages."""

import pytest

from tests.browser import launched
from tests.report.report_made import make_report, put_run


@pytest.fixture(scope="package")
def browser():
    with launched() as one:
        yield one


@pytest.fixture(scope="package")
def report(tmp_path_factory):
    """Two experiments: the first with two seeds, the second half as long and with one more curve."""
    folder = tmp_path_factory.mktemp("browser")
    for name, objective, fid in (("a-0", "Simple", 9.0), ("a-1", "Simple", 8.0), ("b", "VariationalBound", 30.0)):
        settings, scores = {"model.objective": objective}, {"fid": fid, "inception_score": 9.0}
        seed = int(name == "a-1")
        put_run(folder / "runs" / name, seed=seed, settings=settings, scores=scores, steps=100 if name == "b" else 200)
    metrics = folder / "runs/b/metrics.csv"
    names, *rows = metrics.read_text().split()
    metrics.write_text("\n".join([f"{names},train/grad_norm", *(f"{row},{len(row)}" for row in rows), ""]))
    make_report(folder / "runs", out=folder / "report.html")
    return folder / "report.html"
