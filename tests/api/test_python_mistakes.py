"""What goes into the Python interface, and how it says what is wrong."""

import re
import shutil

import numpy as np
import pytest
import torch

import lit_diffusion
from lit_diffusion.data.digits import Digits
from lit_diffusion.data.given_images import GivenImages, levels_of
from lit_diffusion.diffusion import DDIMSampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_float
from tests.conftest import CONFIGS, DIGITS

STEPS = ["--trainer.max_steps=6"]
SETTINGS = {"trainer__accelerator": "cpu"}
LABELS = ["-c", f"{CONFIGS}/conditional/labels.yaml"]


@pytest.fixture
def run(toy_run):
    return toy_run(*STEPS)


def test_mistakes_are_one_line_without_what_led_to_them(run):
    model = lit_diffusion.load(run, **SETTINGS)
    images = torch.zeros(2, 1, 8, 8)
    mistakes = {
        "num_samples: expected 1 or more, got 0": lambda: model.sample(0),
        "num_samples: expected 1 or more, got -3": lambda: model.sample(-3),
        "seed: expected 0 or more, got -1": lambda: model.sample(seed=-1),
        "images: expected shape (N, 1, 8, 8), got (2, 3, 8, 8)": lambda: model.bits_per_dim(images.expand(2, 3, 8, 8)),
        "images: expected shape (N, 1, 8, 8), got (0, 1, 8, 8)": lambda: model.bits_per_dim(images[:0]),
        "images: expected values in [-1, 1], got 200 to 200; pass": lambda: model.reconstruct(images + 200),
        "images: expected levels 0 to 16, got 17 to 17": lambda: model.bits_per_dim(images.int() + 17),
        "images: expected finite values, got NaN": lambda: model.inpaint(images * torch.nan),
        "images: expected pairs, got 1 images": lambda: model.interpolate(images[:1]),
        "images: expected values in [-1, 1], got 20 to 20; pass images / 127.5 - 1": lambda: model.inpaint(images + 20),
        "images: expected floats in [-1, 1] or integer levels, got torch.bool": lambda: model.inpaint(images > 0),
        "labels: expected None, as the model takes none": lambda: model.inpaint(images, labels=[1, 2]),
        "labels: expected None, as the images that they belong to are missing": lambda: model.bits_per_dim(labels=[1]),
        "classes: expected none, as the model takes no labels": lambda: model.sample(classes=[1]),
        "classes: expected one or more, got none": lambda: model.sample(classes=[]),
        "steps: expected at most T = 7, got 8": lambda: model.reconstruct(steps=[8]),
        "has no column loss; use one of": lambda: model.history("loss"),
        "is not the folder of a run: it has no config.yaml": lambda: lit_diffusion.load(run.parent),
        "is not the folder of a run: it does not exist": lambda: lit_diffusion.load("nowhere"),
        "is not the folder of a run: it is a file": lambda: lit_diffusion.load(run / "config.yaml"),
        "x: expected one example or more, got shape (0, 1, 8, 8)": lambda: model.picture(images[:0]),
        "ckpt_path: bst: no such checkpoint; use best": lambda: lit_diffusion.load(run, checkpoint="bst"),
        "weights: expected ema or raw, got 'best'": lambda: lit_diffusion.load(run, weights="best"),
        "holds another architecture: ": lambda: lit_diffusion.load(run, model__reverse__network__width=16),
        "configs/digit.yaml: no such file; use": lambda: lit_diffusion.train("configs/digit.yaml"),
        "trainer.max_step: no such option; use": lambda: lit_diffusion.train(DIGITS, trainer__max_step=3),
        "expected plain values such as": lambda: lit_diffusion.train(DIGITS, model__objective=object()),
    }
    for message, call in mistakes.items():
        with pytest.raises(ConfigError, match=re.escape(message)) as caught:
            call()
        assert caught.value.__suppress_context__ and "\n" not in str(caught.value)


def test_an_argument_of_another_type_is_named(run):
    model = lit_diffusion.load(run, **SETTINGS)
    images = torch.zeros(2, 1, 8, 8)
    mistakes = {
        "sampler: expected Sampler or None, got 'DDIMSampler'": lambda: model.sample(sampler="DDIMSampler"),
        "sampler: expected Sampler or None, got the class DDIMSampler; pass an object: DDIMSampler()": (
            lambda: model.sample(sampler=DDIMSampler)
        ),
        "num_samples: expected int, got 1.5": lambda: model.sample(1.5),
        "num_samples: expected int, got True": lambda: model.sample(True),
        "seed: expected int or None, got '7'": lambda: model.sample(seed="7"),
        "classes: expected a list of int or str, or None, got '35'": lambda: model.sample(classes="35"),
        "steps: expected a list of int, or None, got 5": lambda: model.reconstruct(steps=5),
        "images: expected Tensor or ndarray or None, got list": lambda: model.bits_per_dim([0.5]),
        "known: expected str, got Tensor": lambda: model.inpaint(images, known=images > 0),
        "prediction: expected Prediction, got 'Denoise'": lambda: model.make("Denoise"),
        "samples: expected str or PathLike or Tensor or ndarray, got TrainedModel": (
            lambda: lit_diffusion.score(model, "digits:train")
        ),
        "configs: expected str or PathLike, got 3": lambda: lit_diffusion.train(DIGITS, 3),
    }
    for message, call in mistakes.items():
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == message
    with pytest.raises(TypeError, match="unexpected keyword argument 'steps'"):
        model.sample(steps=3)


def test_images_may_be_levels_or_numpy_arrays(run):
    """All forms of the same images have the same bound, bit for bit; 256 levels fit into uint8."""
    model = lit_diffusion.load(run, **SETTINGS)
    levels = Digits(batch_size=1).read()["test"].images[:3]
    forms = [to_float(levels, 17), levels, levels.long(), levels.numpy(), levels.numpy().astype(np.uint16)]
    first, *others = [model.bits_per_dim(images, terms=2).per_example for images in forms]
    assert all(one.equal(first) for one in others)
    brightest = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert levels_of("images", brightest, 256).equal(brightest)
    assert levels_of("images", brightest.to(torch.uint16) * 257, 65536).tolist() == [[[[0, 65535]]]]
    with pytest.raises(ConfigError, match="^images: expected levels 0 to 16, got 0 to 255; pass images / 127.5 - 1$"):
        levels_of("images", brightest, 17)


def test_labels_are_those_of_the_images(toy_run):
    model = lit_diffusion.load(toy_run(*LABELS, *STEPS, "--ema.decay=0"), **SETTINGS)
    images = model.data.example_images(3)
    forms = [[0, 1, 2], np.arange(3), np.arange(3, dtype=np.uint16), torch.arange(3, dtype=torch.uint8)]
    first, *others = [model.bits_per_dim(images, terms=2, labels=labels).per_example for labels in forms]
    assert all(one.equal(first) for one in others)
    mistakes = {
        "labels: expected one for each image, as the model takes labels; pass them": None,
        "labels: expected 3, one an image, got shape (2,)": [0, 1],
        "labels: expected 0 to 9, got 0 to 77": [0, 1, 77],
        "labels: expected integers, got torch.float32": torch.zeros(3),
    }
    for message, labels in mistakes.items():
        with pytest.raises(ConfigError) as caught:
            model.bits_per_dim(images, labels=labels)
        assert str(caught.value) == message
    data = model.data
    data.class_names = [str(number) for number in range(300)]  # more than uint8 holds
    assert GivenImages(data, images, torch.tensor([0, 1, 255], dtype=torch.uint8)).labels("test").tolist() == [
        0,
        1,
        255,
    ]
    with pytest.raises(ConfigError, match="^labels: expected None, as the images that they belong to are missing"):
        model.bits_per_dim(labels=[1])


def test_only_the_folder_that_is_given_is_loaded(run, tmp_path, monkeypatch):
    """A copy without checkpoints has no weights, even if the run that it is from is where its settings say."""
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / "runs/here/checkpoints/last.ckpt").is_file()
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(run / "config.yaml", copy)
    with pytest.raises(ConfigError, match=f"{copy}/checkpoints/last.ckpt: no such checkpoint"):
        lit_diffusion.load(copy, **SETTINGS)
