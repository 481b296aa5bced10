"""FID and its kin of a model: when they are computed, on which weights, and what stands next to them."""

import csv
import json

import pytest
import torch
from PIL import Image

from lit_diffusion.errors import ConfigError
from tests.conftest import TINY
from tests.training.test_training import STEPS, assert_same_training, weights

SCORES = [
    "--scores.num_samples=30",
    "--scores.track_samples=20",
    "--scores.batch_size=16",
    "--scores.track_sampler.steps=3",
]
TRACK = ["--scores.every_n_steps=4", "--scores.at_end=true"]
NAMES = {"fid", "inception_score", "kid", "precision", "recall"}


def summary(folder) -> dict:
    return json.loads((folder / "summary.json").read_text())


def logged(folder, name: str) -> dict[int, float]:
    with (folder / "metrics.csv").open() as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


@pytest.fixture
def trained(toy_run):
    """A folder runs/here with a trained tiny model; scoring is left to the test."""
    return toy_run(*STEPS)


def test_a_fit_scores_during_training_and_at_its_end_and_keeps_the_lowest_fid(command, toy_run):
    """Tracked values are in metrics.csv, the last in summary.json, and best.ckpt is of the step with the lowest FID.

    A test of an earlier checkpoint, which holds what had been tracked then, leaves them as they are.
    """
    run = toy_run(*STEPS, *SCORES, *TRACK)
    tracked = logged(run, "track/fid")
    assert sorted(tracked) == [4, 8, 12]
    assert weights(run / "checkpoints/best.ckpt")["global_step"] == min(tracked, key=tracked.get)
    scores = summary(run)["scores"]
    assert set(scores) == NAMES | {f"track/{name}" for name in NAMES}
    assert scores["fid"]["value"] == pytest.approx(logged(run, "fid")[12])
    assert scores["track/fid"]["value"] == pytest.approx(tracked[12])
    expected = {
        "protocol": "TorchFidelity",
        "quantisation": "8 bits",
        "samples": 30,
        "reference": "Digits:train, 1500 images",
        "features": "digits-classifier",
        "resize": "none, 8x8",
        "sampler": "AncestralSampler",
        "nfe": 7,
        "variance": "BetaVariance",
        "weights": "ema",
        "seed": 0,
        "step": 12,
    }
    assert expected.items() <= scores["fid"]["protocol"].items()
    assert scores["kid"]["protocol"]["subset_size"] == 30
    command("test", "-c", str(run / "config.yaml"), f"--ckpt_path={run}/checkpoints/step=5.ckpt")
    tested = summary(run)["scores"]
    assert tested["fid"]["protocol"]["step"] == 5
    assert {name: tested[name] for name in scores if "/" in name} == {n: scores[n] for n in scores if "/" in n}


def test_scoring_does_not_disturb_training(command, trained, tmp_path):
    """With and without it, weights, average and optimizer are the same."""
    command("fit", *TINY, *STEPS, *SCORES, *TRACK, "--run.name=busy", "--bits_per_dim.splits=[test]")
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("here", "busy")))


def test_a_resumed_run_goes_on_looking_for_the_lowest_fid(command, toy_run, tmp_path):
    """Its tracked scores equal those of the unbroken run, and its folder has a best.ckpt of its own."""
    options = [*STEPS, *SCORES, *TRACK]
    toy_run(*options, name="whole")
    command("fit", *TINY, *options, "--run.name=resumed", f"--ckpt_path={tmp_path}/runs/whole/checkpoints/step=5.ckpt")
    whole, resumed = (logged(tmp_path / f"runs/{name}", "track/fid") for name in ("whole", "resumed"))
    assert resumed == {step: value for step, value in whole.items() if step > 5}
    assert (tmp_path / "runs/resumed/checkpoints/best.ckpt").exists()


def test_a_checkpoint_is_scored_with_another_sampler_variance_and_number_of_samples(command, trained):
    """What the command line says holds, stands in the protocol, and goes to the folder that it names."""
    other = ["--model.sampler=DDIMSampler", "--model.sampler.steps=4", "--model.reverse.variance=PosteriorVariance"]
    saved = ["-c", "runs/here/config.yaml", "--ckpt_path=runs/here/checkpoints/last.ckpt", *SCORES]
    command("test", *saved, *other, "--run.name=ddim", "--scores.num_samples=25")
    scores = summary(trained.parent / "ddim")["scores"]
    protocol = scores["fid"]["protocol"]
    assert (protocol["sampler"], protocol["nfe"], protocol["samples"]) == ("DDIMSampler", 4, 25)
    assert (protocol["eta"], protocol["variance"], protocol["step"]) == (0.0, "PosteriorVariance", 12)
    assert (trained.parent / "ddim/config.yaml").exists()
    command("test", *saved)
    assert summary(trained)["scores"]["fid"]["protocol"]["sampler"] == "AncestralSampler"
    assert summary(trained)["scores"]["fid"]["value"] != scores["fid"]["value"]
    assert summary(trained)["status"] == "finished"  # all else in the summary stays


def test_raw_and_average_are_scored_side_by_side(command, trained):
    """`both` gives what each of the two gives alone."""
    saved = ["test", "-c", "runs/here/config.yaml", "--ckpt_path=last", *SCORES]
    command(*saved, "--scores.weights=both")
    both = summary(trained)["scores"]
    assert set(both) == NAMES | {f"{name}/raw" for name in NAMES}
    assert both["fid"]["value"] != both["fid/raw"]["value"]
    assert (both["fid"]["protocol"]["weights"], both["fid/raw"]["protocol"]["weights"]) == ("ema", "raw")
    command(*saved, "--scores.weights=raw")
    assert summary(trained)["scores"]["fid"]["value"] == both["fid/raw"]["value"]
    command(*saved, "--ema.decay=0")
    assert summary(trained)["scores"]["fid"]["value"] == both["fid/raw"]["value"]
    assert summary(trained)["scores"]["fid"]["protocol"]["weights"] == "raw"


def test_the_protocol_of_the_release_compares_with_both_splits(command, trained):
    """Floats that are not rounded, against train and test."""
    command("test", "-c", "runs/here/config.yaml", "--ckpt_path=last", *SCORES, "--scores.protocol=DDPMRelease")
    scores = summary(trained)["scores"]
    assert scores["fid/test"]["protocol"]["reference"] == "Digits:test, 297 images"
    assert scores["fid"]["protocol"]["quantisation"] == "none, clipped to [-1, 1]"


def test_validate_prints_scores_and_writes_nothing(command, trained, capsys):
    """The same numbers as `test`, and the folder stays as it was."""
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    command("validate", "-c", "runs/here/config.yaml", "--ckpt_path=last", *SCORES)
    printed = capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    command("test", "-c", "runs/here/config.yaml", "--ckpt_path=last", *SCORES)
    assert f"{summary(trained)['scores']['fid']['value']:.4g}" in printed


def test_samples_that_are_not_finite_are_divergence_never_a_number(command, trained, capsys):
    """Of a checkpoint with weights that are not numbers; JSON holds null."""
    path = trained / "checkpoints/last.ckpt"
    checkpoint = weights(path)
    for part in ("state_dict", "current_model_state"):
        for name, tensor in checkpoint[part].items():
            if tensor.is_floating_point():
                checkpoint[part][name] = torch.full_like(tensor, torch.nan)
    torch.save(checkpoint, path)
    (trained / "summary.json").unlink()
    command("test", "-c", "runs/here/config.yaml", "--ckpt_path=last", *SCORES, "--bits_per_dim.splits=[test]")
    found = summary(trained)
    assert set(found["scores"]) == {*NAMES, "bits_per_dim/test"}
    assert all(score["value"] is None and score["std"] is None for score in found["scores"].values())
    assert found["status"] == "diverged"
    assert "the model has diverged: 30 of 30 samples are not finite" in " ".join(capsys.readouterr().out.split())


def test_data_without_test_images_is_scored_all_the_same(command, tmp_path):
    """A folder of images, all for training: FID against them, and no bits/dim of a test split that is not there."""
    (tmp_path / "images").mkdir()
    generator = torch.Generator().manual_seed(0)
    for i in range(20):
        pixels = torch.randint(0, 256, (8, 8), dtype=torch.uint8, generator=generator).numpy()
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.png")
    data = ["--data=ImageFolder", "--data.root=images", "--data.size=8", "--data.channels=1", "--data.batch_size=8"]
    levels = "--model.reverse.decoder.num_levels=256"
    command("fit", *TINY, *data, levels, "--trainer.max_steps=2", "--run.name=here")
    score = ["--scores.num_samples=20", "--bits_per_dim.splits=[test,train]", "--bits_per_dim.terms=3"]
    command("test", "-c", "runs/here/config.yaml", "--ckpt_path=last", *score)
    assert set(summary(tmp_path / "runs/here")["scores"]) == {*NAMES, "bits_per_dim/train"}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--scores.num_samples=9"],
            "command line: scores.num_samples: expected at least 10 samples, one for each split of IS, got 9",
        ),
        (
            ["--scores.every_n_steps=1", "--scores.track_sampler.steps=[1,9]"],
            "scores.track_sampler: DPMSolverPlusPlusSampler.steps: expected at most the model's T = ",
        ),
        (["--scores.features=InceptionFeatures"], "weights-inception-2015-12-05-6726825d.pth"),
        (
            [
                "--allow=lit_diffusion.metrics.features.FileFeatures",
                "--scores.features=FileFeatures",
                "--scores.features.path=none.pt2",
            ],
            "none.pt2",
        ),
        (["--scores.batch_size=0"], "scores.batch_size: expected 1 or more, got 0"),
    ],
)
def test_what_would_stop_scoring_stops_the_run_before_it_starts(command, tmp_path, monkeypatch, options, line):
    """One line, and no folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ConfigError) as error:
        command("fit", *TINY, *SCORES, "--scores.at_end=true", *options, "--run.name=here")
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs/here").exists()


def test_a_run_shorter_than_the_interval_has_a_best_checkpoint_too(command, tmp_path):
    """The last step is tracked as well."""
    command("fit", *TINY, *SCORES, "--trainer.max_steps=3", "--scores.every_n_steps=100", "--run.name=here")
    assert weights(tmp_path / "runs/here/checkpoints/best.ckpt")["global_step"] == 3


@pytest.mark.parametrize("saved_by", ["fit", "test", "predict"])
def test_a_saved_configuration_serves_every_command(command, trained, saved_by):
    """Whichever command has written it."""
    checkpoint = "--ckpt_path=runs/here/checkpoints/last.ckpt"
    if saved_by != "fit":
        command(saved_by, "-c", "runs/here/config.yaml", checkpoint, "--run.name=other", "--prediction.num_samples=2")
    saved = "runs/here/config.yaml" if saved_by == "fit" else "runs/other/config.yaml"
    for name in ("validate", "test", "predict"):
        command(name, "-c", saved, checkpoint, "--prediction.num_samples=2")
    command("fit", "-c", saved, "--trainer.max_steps=1")


def test_a_damaged_summary_is_found_before_the_work(command, trained):
    """One line, and the file stays as it is."""
    (trained / "summary.json").write_text("{")
    with pytest.raises(ConfigError, match="summary.json is damaged"):
        command("test", "-c", "runs/here/config.yaml", "--ckpt_path=last", *SCORES)
    assert (trained / "summary.json").read_text() == "{"


@pytest.mark.parametrize("section", ["scores", "bits_per_dim", "prediction", "ema"])
def test_null_in_the_place_of_a_section_is_refused(command, tmp_path, section):
    """In a file, where a user would write it."""
    (tmp_path / "null.yaml").write_text(f"{section}: null\n")
    with pytest.raises(ConfigError) as error:
        command("fit", *TINY, "-c", str(tmp_path / "null.yaml"), "--trainer.max_steps=1")
    assert section in str(error.value)
