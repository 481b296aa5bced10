"""docs/extending.md: the files of the page, and what it says to type."""

import json
import re
import sys

import numpy as np
import pytest
import torch

from lit_diffusion.errors import ConfigError
from tests.conftest import DIGITS, ROOT, TINY
from tests.snippets import parse_training

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (my_package/\w+\.py)\n(.*?)```", PAGE, re.S))
LINES = re.findall(r"^python -m lit_diffusion fit -c configs/digits.yaml \$allow (--.*)$", PAGE, re.M)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder that holds my_package, with all files of the page."""
    monkeypatch.setenv("LIT_DIFFUSION_ALLOW", "my_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_package").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def test_every_class_of_the_page_takes_part_in_a_run(command, package):
    assert len(LINES) == 7 and len(FILES) == 8
    options = [option for line in LINES for option in line.split()]
    sizes = ["--scores.num_samples=20", "--scores.at_end=true", "--trainer.max_steps=2", "--run.name=here"]
    sizes.append("--model.reverse.network.num_steps=7")
    command("fit", *TINY, *options, *sizes, "--scores.track_sampler.steps=3")
    saved = (package / "runs/here/config.yaml").read_text()
    names = {"schedule.Geometric", "parameterization.Difference", "variance.Between", "network.ThreeLayers"}
    names |= {"data.Stripes", "callback.GradientNorm", "features.Thumbnails"}
    assert names == set(re.findall(r"class_path: my_package\.(\S+)", saved))
    assert "gradient_norm" in (package / "runs/here/metrics.csv").read_text().partition("\n")[0]
    scores = json.loads((package / "runs/here/summary.json").read_text())["scores"]
    assert scores["fid"]["protocol"]["features"] == "thumbnails"


def test_the_overlay_of_the_page_parses(package, monkeypatch):
    monkeypatch.chdir(package)
    (overlay,) = re.findall(r"```yaml\n(# my_overlay\.yaml.*?)```", PAGE, re.S)
    (package / "my_overlay.yaml").write_text(overlay, encoding="utf-8")
    parse_training("fit", ["-c", DIGITS, "-c", "my_overlay.yaml"])
    (package / "my_overlay.yaml").write_text(overlay.replace("share:", "shares:"), encoding="utf-8")
    with pytest.raises(ConfigError, match="shares"):
        parse_training("fit", ["-c", DIGITS, "-c", "my_overlay.yaml"])


def test_the_classifier_of_noisy_images_guides(command, package, toy_run):
    """The larger the scale, the likelier the class."""
    from my_package.noisy_classifier import NoisyClassifier, train

    toy_run("--trainer.max_steps=6")
    torch.manual_seed(0)
    train("classifier.pt", 50)
    classifier, likelihoods = NoisyClassifier("classifier.pt"), []
    options = ["--prediction=Guide", "--prediction.factor=my_package.noisy_classifier.NoisyClassifier"]
    options += ["--prediction.factor.path=classifier.pt", "--prediction.num_samples=20"]
    for scale in (0, 50):
        saved = ["-c", "runs/here/config.yaml", "--ckpt_path=runs/here/checkpoints/last.ckpt"]
        command("predict", *saved, *options, f"--prediction.scale={scale}", f"--run.name=scale{scale}")
        folder = package / f"runs/scale{scale}/predict"
        with np.load(folder / "samples.npz") as arrays:
            images, labels = torch.from_numpy(arrays["arr_0"][..., 0]), torch.from_numpy(arrays["arr_1"])
        with torch.no_grad():
            log_p = classifier.log_r(images.float() / 127.5 - 1, labels, torch.ones(20, dtype=torch.long))
        likelihoods.append(log_p.mean().item())
        protocol = json.loads((folder / "samples.json").read_text())
        assert (protocol["factor"], protocol["scale"]) == ("NoisyClassifier", scale)
        assert "covariance" not in protocol
    assert likelihoods[1] > likelihoods[0] + 0.5
