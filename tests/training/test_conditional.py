"""Models with labels from the command line: training, resume, samples of classes, scores, on one and two processes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.callbacks import timing
from lit_diffusion.data import Digits
from lit_diffusion.data.image_set import ImageSet
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import DigitsFeatures, TorchFidelity, compare
from lit_diffusion.metrics.reference_statistics import compute_statistics
from tests.conftest import CONFIGS, TINY
from tests.processes import Process
from tests.training.test_training import assert_same_training

LABELS = ["-c", f"{CONFIGS}/conditional/labels.yaml"]
SAVED = ["-c", "runs/here/config.yaml", "--ckpt_path=runs/here/checkpoints/last.ckpt"]


@pytest.fixture
def trained(toy_run):
    return toy_run(*LABELS, "--trainer.max_steps=6", "--ema.decay=0")


def test_a_run_with_labels_resumes_to_the_same_bits(command, trained, tmp_path):
    """Which labels training drops is part of a step, like its noise."""
    part = [*TINY, *LABELS, "--ema.decay=0", "--run.name=part"]
    command("fit", *part, "--trainer.max_steps=2")
    command("fit", *part, "--trainer.max_steps=6", "--ckpt_path=last")
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("here", "part")))
    state = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert state["reverse.network.label.table.weight"].shape == (11, 32)


def read(folder):
    with np.load(folder / "predict/samples.npz") as arrays:
        return arrays["arr_0"], arrays["arr_1"]


def test_samples_are_of_the_classes_asked_for(command, trained, tmp_path):
    """All classes in turn, or some by number and name; a sample depends on its class and its noise alone."""
    for name, options in (("all", []), ("some", ["--prediction.classes=[3,'7']"])):
        sizes = ["--prediction.num_samples=25", "--prediction.batch_size=10"]
        command("predict", *SAVED, f"--run.name={name}", *sizes, *options)
    (images, labels), (others, chosen) = (read(tmp_path / f"runs/{name}") for name in ("all", "some"))
    assert labels.tolist() == [i % 10 for i in range(25)]
    assert chosen.tolist() == [3 if i % 2 == 0 else 7 for i in range(25)]
    same = labels == chosen
    assert 0 < same.sum() < 25 and (images[same] == others[same]).all()
    assert (images[~same] != others[~same]).any()
    said = [
        json.loads((tmp_path / f"runs/{name}/predict/samples.json").read_text())["labels"] for name in ("all", "some")
    ]
    assert said == ["all classes in turn", ["3", "7"]]


def test_two_processes_draw_the_same_samples_of_classes(trained, tmp_path):
    processes = []
    for name, devices in (("one", []), ("two", ["--trainer.devices=2", "--trainer.strategy=ddp_fork"])):
        sizes = ["--prediction.num_samples=25", "--prediction.batch_size=4", f"--run.name={name}"]
        processes.append(Process(["predict", *SAVED, *sizes, *devices], tmp_path))
    for process in processes:
        output, _ = process.communicate(120)
        assert process.returncode == 0, output
    one, two = (tmp_path / f"runs/{name}/predict" for name in ("one", "two"))
    for file in sorted(path.relative_to(one) for path in one.rglob("*.*")):
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


SCORE = ["--scores.num_samples=700", "--scores.batch_size=50", "--scores.per_class=true", "--bits_per_dim.terms=2"]


def test_scores_of_classes_are_those_of_the_files_on_one_and_two_processes(command, trained, tmp_path):
    """The share of samples whose class the shipped classifier finds; the FID of those of one class against its training
    images, as an evaluator finds it; the bound, which is given the labels.
    """
    two = Process(
        ["test", *SAVED, *SCORE, "--run.name=two", "--trainer.devices=2", "--trainer.strategy=ddp_fork"], tmp_path
    )
    command("test", *SAVED, *SCORE, "--bits_per_dim.splits=[test]", "--run.name=one")
    output, _ = two.communicate(120)
    assert two.returncode == 0, output
    found, others = (json.loads((tmp_path / f"runs/{n}/summary.json").read_text())["scores"] for n in ("one", "two"))
    accuracy, bound = found["label_accuracy"], found["bits_per_dim/test"]
    assert accuracy["protocol"]["labels"] == "all classes in turn"
    assert bound["protocol"]["given"] == "labels"
    command("predict", *SAVED, "--prediction.num_samples=700", "--prediction.batch_size=50", "--run.name=drawn")
    images, labels = read(tmp_path / "runs/drawn")
    drawn = torch.from_numpy(images[..., :1]).permute(0, 3, 1, 2)
    features, protocol, data = DigitsFeatures(), TorchFidelity(), Digits()
    features.load()
    _, logits = features(drawn.float())
    share = (logits.argmax(1).numpy() == labels).mean()
    assert accuracy["value"] == pytest.approx(share)
    assert accuracy["std"] == pytest.approx((share * (1 - share) / 699) ** 0.5)
    data.setup()
    real, by_class = data.images("train")[data.labels("train") == 3], [f"class_fid/{c}" for c in range(10)]
    sets = (ImageSet("", MemoryStore(drawn[labels == 3]), (1, 8, 8)), ImageSet("", MemoryStore(real), (1, 8, 8), 17))
    samples, reference = (compute_statistics(images, features, protocol, keep_logits=True) for images in sets)
    expected = compare(samples, {"train": reference}, protocol, features)["fid"].value
    assert found["class_fid/3"]["value"] == pytest.approx(expected, rel=1e-6)
    assert found["class_fid/3"]["protocol"]["reference"] == f"Digits:train, {len(real)} images of class 3"
    assert found["intra_fid"]["value"] == pytest.approx(sum(found[name]["value"] for name in by_class) / 10)
    assert all(others[name] == found[name] for name in ("intra_fid", "label_accuracy", *by_class))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--scores.num_samples=640"],
            "more samples of each class than the 64 features, .*, got 64 of class 0; use 65",
        ),
        (
            ["--scores.num_samples=700", "--scores.protocol.max_features=1400"],
            "at most scores.protocol.max_features = 1400 reference images .Digits:train., got 1500",
        ),
    ],
)
def test_too_few_images_for_a_class_are_refused(options, message, command, trained):
    with pytest.raises(ConfigError, match=f"scores.per_class: expected {message}"):
        command("test", *SAVED, *options, "--scores.per_class=true")


def test_samples_without_labels_have_no_score_by_class(command):
    with pytest.raises(ConfigError, match="scores.per_class: expected false for a model without labels"):
        command("fit", *TINY, "--scores.num_samples=700", "--scores.at_end=true", "--scores.per_class=true")


def test_a_classifier_guides_a_model_without_labels(command, toy_run, tmp_path):
    """The larger the scale, the likelier the class, by the classifier that guides."""
    toy_run("--trainer.max_steps=6")
    guide = ["--prediction=Guide", "--prediction.factor=ClassFactor", "--prediction.factor.features=DigitsFeatures"]
    features, likelihoods = DigitsFeatures(), []
    features.load()
    for scale in (0, 2, 20):
        sizes = [f"--prediction.scale={scale}", "--prediction.num_samples=20", "--prediction.batch_size=20"]
        command("predict", *SAVED, *guide, *sizes, "--prediction.classes=[0,1]", f"--run.name=scale{scale}")
        images, labels = read(tmp_path / f"runs/scale{scale}")
        _, logits = features(torch.from_numpy(images[..., :1]).permute(0, 3, 1, 2).float())
        likelihoods.append(logits.log_softmax(1)[range(20), labels].mean().item())
    assert likelihoods == sorted(likelihoods) and likelihoods[2] > likelihoods[0] + 1


def test_a_classifier_guides_a_model_of_images_without_labels_by_its_own_classes(command, tmp_path):
    data = Digits()
    data.setup()
    (tmp_path / "images").mkdir()
    for i, levels in enumerate(data.images("train")[:8]):
        Image.fromarray((levels[0] * 15).numpy()).save(tmp_path / f"images/{i}.png")
    folder = ["--data=ImageFolder", "--data.root=images", "--data.size=8", "--data.channels=1", "--data.batch_size=8"]
    levels = "--model.reverse.decoder.num_levels=256"
    command("fit", *TINY, *folder, levels, "--trainer.max_steps=1", "--run.name=here")
    guide = ["--prediction=Guide", "--prediction.factor=ClassFactor", "--prediction.factor.features=DigitsFeatures"]
    command("predict", *SAVED, *guide, "--prediction.classes=['7']", "--prediction.num_samples=4")
    assert read(tmp_path / "runs/here")[1].tolist() == [7] * 4
    with pytest.raises(
        ConfigError, match=r"prediction.classes: expected names \(0, 1, .*\) or else numbers 0 to 9, got 10"
    ):
        command("predict", *SAVED, *guide, "--prediction.classes=[10]")


def test_a_guided_model_has_scores_but_no_likelihood(command, trained, tmp_path):
    guided = ["--model.sampler.guidance_scale=1.5", "--scores.num_samples=20", "--run.name=scored"]
    with pytest.raises(ConfigError, match=r"bits_per_dim.splits: expected \[\], since .*guidance_scale is 1.5"):
        command("test", *SAVED, *guided, "--bits_per_dim.splits=[test]")
    command("test", *SAVED, *guided, "--bits_per_dim.splits=[]")
    protocol = json.loads((tmp_path / "runs/scored/summary.json").read_text())["scores"]["fid"]["protocol"]
    assert (protocol["guidance_scale"], protocol["nfe"]) == (1.5, 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--prediction.sampler=DDIMSampler", "--prediction.sampler.guidance_scale=-2"],
            "guidance_scale: expected a finite number, -1",
        ),
        (["--prediction.classes=[3,10]"], "classes: expected names .0, 1, 2, .* 0 to 9, got 10"),
        (["--prediction.classes=[shoe]"], "classes: expected names .0, 1, 2, .* 0 to 9, got shoe"),
    ],
)
def test_unknown_classes_are_refused(options, message, command, trained):
    with pytest.raises(ConfigError, match=message):
        command("predict", *SAVED, *options)


def test_a_model_that_was_never_without_labels_is_trained_and_drawn_from_but_not_guided(command, toy_run):
    toy_run(*LABELS, "--trainer.max_steps=2", "--model.reverse.network.label_dropout=0")
    command("predict", *SAVED, "--prediction.num_samples=10", "--run.name=drawn")
    guided = ["--prediction.sampler=DDIMSampler", "--prediction.sampler.guidance_scale=1"]
    where = (
        "command line: prediction.sampler.guidance_scale: expected 0 for a model trained without label_dropout, got 1"
    )
    with pytest.raises(ConfigError, match=where):
        command("predict", *SAVED, *guided)


def test_guidance_of_a_model_without_labels_blames_the_sampler(command):
    where = "command line: model.sampler.guidance_scale: expected 0 for a model without labels, got 2"
    with pytest.raises(ConfigError, match=where):
        command("fit", *TINY, "--model.sampler.guidance_scale=2")


@pytest.mark.parametrize(
    ("base", "classes", "message"),
    [
        ("digits", 7, "expected 10, the number of the data's classes, got 7"),
        ("swiss_roll", 3, "expected null, since the data have no labels, got 3"),
    ],
)
def test_labels_that_the_data_do_not_have_are_refused(base, classes, message, command):
    with pytest.raises(ConfigError, match=f"model.reverse.network.num_classes: {message}"):
        command("fit", "-c", f"{CONFIGS}/{base}.yaml", f"--model.reverse.network.num_classes={classes}")


@pytest.mark.parametrize("labels", [False, True])
def test_images_a_second_are_those_of_the_batches(monkeypatch, labels):
    """Whether a batch is images or a pair of images and labels."""
    measured, logged, clock = timing.Timing(), {}, iter(range(1, 9))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    trainer = SimpleNamespace(global_step=1, world_size=2, log_every_n_steps=1)
    measured.on_train_start(trainer, None)
    images = torch.zeros(16, 1, 8, 8)
    batch = (images, torch.zeros(16)) if labels else images
    measured.on_train_batch_end(trainer, SimpleNamespace(log=logged.__setitem__), None, batch, 0)
    assert logged == {"images_per_second": 32.0}  # a second between two looks at the clock
