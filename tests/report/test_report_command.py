"""The command: its options, its mistakes, and pages that are renewed."""

import os
import time

import pytest

from lit_diffusion.errors import ConfigError
from lit_diffusion.report import command
from tests.report.report_made import Elements, put_run


def test_mistakes_are_one_line(tmp_path):
    put_run(tmp_path / "run")
    for arguments, message in (
        ([], "expected folders of runs, got none"),
        ([str(tmp_path / "run"), f"--out={tmp_path}"], "--out: expected a file"),
        ([str(tmp_path / "run"), f"--out={tmp_path}/no/report.html"], "--out: no folder"),
        ([str(tmp_path / "run"), f"--out={tmp_path}/report.pdf"], r"--out: expected a file that ends in \.html"),
        ([str(tmp_path / "run"), "--layout=table9"], "table9"),
        ([str(tmp_path / "run"), "--watc"], "use --watch"),
    ):
        with pytest.raises(ConfigError, match=message):
            command.main(arguments)


def test_the_page_is_opened_where_it_is(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    monkeypatch.chdir(tmp_path)
    put_run(tmp_path / "run")
    command.main(["run", "--open"])
    assert opened == [(tmp_path / "report.html").as_uri()]
    assert capsys.readouterr().out.startswith("report.html: 1 run, 0.1 MB, made in ")


def test_watching_renews_the_page_when_a_run_changes_and_leaves_one_that_stays(tmp_path, monkeypatch, capsys):
    """Each sleep stands for a period; Ctrl-C ends the last."""
    run, out = put_run(tmp_path / "runs/one", status="running", steps=3), tmp_path / "report.html"
    pages = []

    def sleep(seconds):
        pages.append(Elements(out.read_text()))
        if len(pages) == 1:
            return  # nothing has changed
        if len(pages) == 2:
            with (run / "metrics.csv").open("a") as file:
                file.write("9.5,3,300\n")
        elif len(pages) == 3:
            (run / "summary.json").rename(tmp_path / "kept")
        elif len(pages) == 4:
            (tmp_path / "kept").rename(run / "summary.json")
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", sleep)
    command.main([str(tmp_path / "runs"), "--watch", f"--out={out}"])
    said = capsys.readouterr()
    lengths = [len(page.data["charts"][0]["curves"][0][1]) for page in pages]
    assert lengths == [3, 3, 4, 4, 4] and said.out.count("report.html") == 3
    assert "not renewed: " in said.err and "Ctrl-C ends" in said.err
    assert pages[0].data["renewed"] == command.PERIOD
    assert Elements(out.read_text()).data["renewed"] == 0, "a page that nobody renews does not reload itself"


def test_a_run_that_says_running_and_has_been_silent_for_long_is_called_so(tmp_path):
    run = put_run(tmp_path / "runs/one", status="running", pictures=False)
    long_ago = time.time() - 5 * 3600
    for path in [run, *run.rglob("*")]:
        os.utime(path, (long_ago, long_ago))
    command.main([str(tmp_path / "runs"), f"--out={tmp_path / 'report.html'}"])
    assert "has written nothing since" in Elements((tmp_path / "report.html").read_text()).text
