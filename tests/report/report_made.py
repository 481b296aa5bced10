"""Folders of runs that never were, and the page that the command makes of them."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from lit_diffusion.report.command import main
from tests.table.table_made import put, summary

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def put_run(folder: Path, status="finished", steps=100, pictures=True, content=None, **more) -> Path:
    """A run with curves, pictures and the bound; `content` in place of its summary, `more` for it."""
    scores = {"fid": 12.5, "inception_score": 9.0, "bits_per_dim/test": 2.9} if status == "finished" else {}
    put(folder, content or summary(status=status, **{"scores": scores, "facts": {"parameters": 1000}, **more}))
    (folder / "config.yaml").write_text("model: DiffusionModule\n")
    rows = [f"{4 / (step + 1)},{step},{300 + step % 7}" for step in range(steps)]
    (folder / "metrics.csv").write_text("\n".join(["train/loss,step,images_per_second", *rows, ""]))
    (folder / "bits_per_dim").mkdir()
    terms = {"total": {"value": 2.9, "standard_error": 0.1}, "L_0": {"value": 1e-6, "standard_error": 1e-7}}
    (folder / "bits_per_dim/test.json").write_text(json.dumps({**terms, "protocol": {"split": "test"}}))
    lines = ["first,last,count,terms,terms_error,rate,rmse,rmse_error"]
    lines += [f"{t},{t},10,{1 / t**2},0.1,{3 / t},{t * 10},0.1" for t in range(1, 11)]
    (folder / "bits_per_dim/test.csv").write_text("\n".join([*lines, ""]))
    (folder / "samples").mkdir()
    for number, name in enumerate(["data", "00000050_samples", "00000100_samples", "00000100_chain"] * pictures):
        Image.new("RGB", (40, 20), (number * 60, 10, len(folder.name))).save(folder / f"samples/{name}.png")
    return folder


def make_report(*arguments: object, out: Path) -> str:
    """The page that the command writes."""
    main([*map(str, arguments), "--out", str(out)])
    return out.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the texts of some by their id; `texts`: all that is shown."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag
        if tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in ("script", "style"):
            (self.scripts if self._inside == "script" else self.styles)[-1] += data
        else:
            self.texts.append(data)

    def named(self, tag):
        """The attributes of all elements of a name."""
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def data(self):
        """What the scripts read."""
        return json.loads(self.scripts[0])

    @property
    def text(self):
        """All that is shown, on one line."""
        return re.sub(r"\s+", " ", " ".join(self.texts))
