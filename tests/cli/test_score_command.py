"""`lit-diffusion score A B`: any images against any others, and a line for every mistake."""

import json
import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.cli.entry import dispatch
from lit_diffusion.data.image_set import open_images
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import DigitsFeatures, InceptionFeatures, TorchFidelity, compare
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.metrics.reference_statistics import compute_statistics
from lit_diffusion.pixels import to_levels
from tests.metrics.made import SCORES, inception_file, write_pictures
from tests.processes import Process

DIGITS = ["--features", "digits", "--kid-subsets", "3"]
FEW = ["--splits", "1", "--neighbours", "1", "--kid-subsets", "2"]  # what two or more images suffice for


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of statistics."""
    monkeypatch.setenv("LIT_DIFFUSION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(inception_file(tmp_path_factory))


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The test digits and the first 400 training digits as a folder, as NPZ files of one and of three channels."""
    root, sources = tmp_path_factory.mktemp("forms"), {}
    for split, count in (("test", 297), ("train", 400)):
        images = open_images(f"digits:{split}")
        x = next(images.batches([torch.arange(count)], torch.device("cpu")))
        levels = to_levels(x, 256).permute(0, 2, 3, 1).numpy()
        (root / split).mkdir()
        for i, image in enumerate(levels):
            Image.fromarray(image[..., 0]).save(root / split / f"{i:04}.png")
        np.savez(root / f"{split}1.npz", levels)
        np.savez(root / f"{split}3.npz", np.repeat(levels, 3, axis=-1))
        sources[split] = [str(root / name) for name in (split, f"{split}1.npz", f"{split}3.npz")]
    return {"samples": [*sources["test"], "digits:test"], "reference": sources["train"]}


@pytest.fixture
def score(capsys):
    """What the command prints with --json, read."""

    def run(*arguments):
        dispatch(["score", *map(str, arguments), "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def numbers(scores):
    return {name: (one["value"], one["std"]) for name, one in scores.items()}


def test_folders_npz_files_and_splits_of_the_same_images_give_identical_scores(forms, score):
    """In all combinations, to the last bit."""
    found = [numbers(score(a, b, *DIGITS)) for a in forms["samples"] for b in forms["reference"]]
    assert len(found) == 12 and found[0].keys() == SCORES
    assert all(one == found[0] for one in found)
    assert found[0]["fid"][0] > 1 and 0 < found[0]["precision"][0] < 1


def test_the_command_gives_the_scores_of_the_parts_that_it_is_made_of(score):
    """The same images, extractor and protocol by hand."""
    features, protocol = DigitsFeatures(), TorchFidelity(kid_subsets=3)
    samples, reference = (open_images(f"digits:{split}") for split in ("test", "train"))
    ours = compute_statistics(samples, features, protocol, keep_logits=True)
    by_hand = compare(ours, {reference.name: compute_statistics(reference, features, protocol)}, protocol, features)
    assert numbers(score("digits:test", "digits:train", *DIGITS)) == {
        name: (one.value, one.std) for name, one in by_hand.items()
    }


def test_json_holds_value_spread_and_protocol_of_every_score(score):
    found = score("digits:test", "digits:train", *DIGITS, "--splits", "5")
    assert found.keys() == SCORES
    for name, one in found.items():
        assert one.keys() == {"value", "std", "protocol"}
        assert isinstance(one["value"], float)
        assert (one["std"] is not None) == (name in ("inception_score", "kid")) == ("spread" in one["protocol"])
        assert one["protocol"]["images"] == "Digits:test" and one["protocol"]["samples"] == 297
        assert one["protocol"]["features"] == "digits-classifier"
    assert found["fid"]["protocol"]["reference"] == "Digits:train, 1500 images"
    assert found["inception_score"]["protocol"]["splits"] == 5
    assert (found["kid"]["protocol"]["subsets"], found["kid"]["protocol"]["subset_size"]) == (3, 297)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_features_for_28x28_pixels_are_named_in_every_score(tmp_path, score, name):
    """Colour files of three equal channels count as grey; a set has no distance from itself, but one from others."""
    for seed in (0, 1):
        levels = np.random.default_rng(seed).integers(0, 128 * (seed + 1), (100, 28, 28, 1), dtype=np.uint8)
        np.savez(tmp_path / f"{seed}.npz", levels.repeat(3, axis=-1))
    found = score(tmp_path / "0.npz", tmp_path / "0.npz", "--features", name, "--kid-subsets", "0")
    assert all(one["protocol"]["features"] == f"{name}-classifier" for one in found.values())
    assert found["fid"]["value"] == pytest.approx(0, abs=1e-3) and found["precision"]["value"] == 1
    others = score(tmp_path / "0.npz", tmp_path / "1.npz", "--features", name, "--kid-subsets", "0")
    assert others["fid"]["value"] > 1


def test_people_read_what_was_compared_and_every_score_in_a_line(capsys):
    dispatch(["score", "digits:test", "digits:train", *DIGITS])
    shown = capsys.readouterr().out
    head, table = shown.split("\n\n")
    assert head.splitlines()[:2] == [
        "samples          Digits:test, 297 images",
        "reference        Digits:train, 1500 images",
    ]
    for part in ("TorchFidelity", "8 bits", "digits-classifier", sha256_of_digits(), "none, 8x8"):
        assert part in head
    rows = {line.split()[0]: line for line in table.splitlines()}
    assert rows.keys() == SCORES
    assert rows["fid"].split()[1:] == ["↓", "7.227"]
    assert rows["inception_score"].endswith("10 splits, ± standard deviation over splits")
    assert rows["kid"].endswith("3 subsets of 297, 297 against 1500 images, ± standard deviation over subsets")
    assert rows["recall"].endswith("3 neighbours, 297 against 1500 images")
    assert max(map(len, shown.splitlines())) <= 110


def sha256_of_digits():
    features = DigitsFeatures()
    features.load()
    return features.sha256


def test_kid_and_neighbours_can_be_left_out(score):
    found = score("digits:test", "digits:train", *DIGITS, "--kid-subsets", "0", "--neighbours", "0")
    assert found.keys() == {"fid", "inception_score"}


def test_the_ddpm_release_s_protocol_is_said(score):
    """Digits have 17 levels, which 8 bits do not hold exactly: another number, a little."""
    rounded, floats = (
        score("digits:test", "digits:train", *DIGITS, "--protocol", name)["fid"]
        for name in ("TorchFidelity", "DDPMRelease")
    )
    assert floats["protocol"]["quantisation"] == "none, clipped to [-1, 1]"
    assert rounded["value"] != floats["value"] == pytest.approx(rounded["value"], rel=1e-2)


def test_the_reference_is_computed_once(score, cache, forms):
    """The second set of samples finds it."""
    first = score(forms["samples"][0], forms["reference"][0], *DIGITS)
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    written = file.stat().st_mtime_ns
    assert score(forms["samples"][3], forms["reference"][1], *DIGITS)["fid"]["value"] == first["fid"]["value"]
    assert score(forms["samples"][0], forms["reference"][0], *DIGITS) == first
    assert file.stat().st_mtime_ns == written


@pytest.mark.slow
def test_grey_pngs_are_scored_by_inception_as_the_same_images_in_colour(forms, weights, tmp_path, score):
    """A folder of grey files, one of RGB files, and an NPZ file of one channel."""
    grey, colour = tmp_path / "grey", tmp_path / "colour"
    levels = np.load(forms["samples"][1])["arr_0"][:4]
    for folder in (grey, colour):
        folder.mkdir()
    for i, image in enumerate(levels):
        Image.fromarray(image[..., 0]).save(grey / f"{i}.png")
        Image.fromarray(np.repeat(image, 3, axis=-1)).save(colour / f"{i}.png")
    np.savez(tmp_path / "one.npz", levels)
    pictures = write_pictures(tmp_path / "pictures", 4, 8, noise=0, seed=0)
    found = score(grey, pictures, "--weights", weights, *FEW)
    assert found["fid"]["value"] > 0.1
    assert found["fid"]["protocol"]["features"] == "inception-v3-compat with other weights"
    extractor, protocol = InceptionFeatures(weights), TorchFidelity()
    one, *others = (
        compute_statistics(open_images(str(images)), extractor, protocol, keep_logits=True)
        for images in (grey, colour, tmp_path / "one.npz")
    )
    for other in others:
        assert torch.equal(one.features, other.features) and torch.equal(one.logits, other.logits)


def test_what_a_user_should_know_is_said_once_and_next_to_the_result(weights, tmp_path, capsys):
    """On standard error: repeated channels, and too few images for so many features."""
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8))
    dispatch(["score", str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--weights", weights, *FEW, "--json"])
    out, said = capsys.readouterr()
    assert json.loads(out).keys() == SCORES
    assert said.count("grey images are repeated to three channels") == 1
    assert said.count("3 images are few for 2048 features: FID is biased upwards") == 1


def mistake(*arguments) -> str:
    with pytest.raises(ConfigError) as error:
        dispatch(["score", *map(str, arguments)])
    assert "\n" not in str(error.value)
    return str(error.value)


MISTAKES = {
    "nothing": ([], "lit-diffusion score: the following arguments are required: A, B; see lit-diffusion score --help"),
    "one": (["digits:test"], "the following arguments are required: B"),
    "three": (["digits:test", "digits:test", "x"], "expected an option, got x"),
    "unknown option": (
        ["digits:test", "digits:test", "--bogus"],
        "lit-diffusion score: --bogus: no such option; see lit-diffusion score --help",
    ),
    "no number": (["digits:test", "digits:test", "--splits", "x"], "argument --splits: invalid int value: 'x'"),
    "unknown split": (
        ["digits:tset", "digits:train", *DIGITS],
        "images not found: digits:tset; use a folder, an .npz file, or a split, such as digits:train",
    ),
    "unknown reference": (["digits:test", "nowhere", *DIGITS], "images not found: nowhere; use"),
    "unknown features": (
        ["digits:test", "digits:train", "--features", "vgg"],
        "--features: expected inception, digits, mnist, fashion-mnist, or a .pt2 or .pt file, got vgg",
    ),
    "missing features": (
        ["digits:test", "digits:train", "--features", "own.pt"],
        "own.pt cannot be read (No such file",
    ),
    "missing weights": (["digits:test", "digits:train", "--weights", "x.pth"], "x.pth cannot be read (No such file"),
    "weights of digits": (
        ["digits:test", "digits:train", *DIGITS, "--weights", "x.pth"],
        "--weights: only Inception takes weights; omit this, or the features",
    ),
    "unknown device": (
        ["digits:test", "digits:train", *DIGITS, "--device", "abacus"],
        "--device: expected a device of this machine with float64, got abacus; use cpu",
    ),
    "device without values": (
        ["digits:test", "digits:train", *DIGITS, "--device", "meta"],
        "with float64, got meta; use cpu",
    ),
    "unknown protocol": (
        ["digits:test", "digits:train", *DIGITS, "--protocol", "Clean"],
        "argument --protocol: invalid choice: 'Clean'",
    ),
    "no splits": (["digits:test", "digits:train", *DIGITS, "--splits", "0"], "splits: expected 1 or more, got 0"),
    "too many splits": (
        ["digits:test", "digits:train", *DIGITS, "--splits", "298"],
        "expected at least 298 samples, one for each split of IS, got 297; use more samples or fewer splits",
    ),
    "too many neighbours": (
        ["digits:test", "digits:train", *DIGITS, "--neighbours", "297"],
        "expected at least 298 samples, got 297: FID needs 2, precision and recall one more than their 297 neighbours;",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_cached(tmp_path, monkeypatch, cache, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in mistake(*arguments)
    assert not cache.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said():
    assert mistake("digits:test", "digits:train", *DIGITS, "--device", "cuda").endswith(
        "with float64, got cuda; use cpu"
    )


def test_images_that_do_not_compare_are_refused(tmp_path, weights):
    """Of different sizes within a set or between the two, of another shape than the features', or no images."""
    a, b = (write_pictures(tmp_path / str(side), 4, side, noise=0, seed=0) for side in (8, 16))
    inception = ["--weights", weights, *FEW]
    assert mistake(a, b, *inception) == (
        f"{a} holds images of 8x8, {b} holds images of 16x16: expected images of one size; resize them"
    )
    message = mistake(b, "digits:train", "--features", "digits", *FEW)
    assert message == f"{b}/000.png: expected a grey image, got colours; convert it, or use other features"
    grey = tmp_path / "grey"
    grey.mkdir()
    for i in range(4):
        Image.open(b / f"{i:03}.png").convert("L").save(grey / f"{i}.png")
    message = mistake(grey, "digits:train", "--features", "digits", *FEW)
    assert "DigitsFeatures: expected grey images of 8x8 pixels, got images of 16x16 pixels; use" in message
    (b / "003.png").rename(a / "odd.png")
    message = mistake(a, write_pictures(tmp_path / "others", 4, 8, noise=0, seed=1), *inception)
    assert f"images of one size, but {a}/000.png is 8x8 and {a}/odd.png 16x16; resize them" in message
    (tmp_path / "empty").mkdir()
    assert "no image in" in mistake(tmp_path / "empty", "digits:train", *DIGITS)
    np.savez(tmp_path / "floats.npz", np.zeros((5, 8, 8, 1)))
    said = mistake(tmp_path / "floats.npz", "digits:train", *DIGITS)
    assert "floats.npz: cannot be read as images (expected uint8 or uint16 of shape" in said


def test_a_reference_of_one_image_is_refused(tmp_path):
    np.savez(tmp_path / "one.npz", np.zeros((1, 8, 8, 1), np.uint8))
    message = mistake("digits:test", tmp_path / "one.npz", *DIGITS)
    assert f"at least 4 reference images ({tmp_path}/one.npz), got 1: FID needs 2" in message


def test_missing_weights_are_said_with_what_to_put_where(tmp_path, monkeypatch):
    """Without a network: file, hash, folder, and the option that names another place."""

    def fail(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    message = mistake("digits:test", "digits:train")
    assert "weights-inception-2015-12-05-6726825d.pth (SHA-256 6726825d0af5f729" in message
    assert f"into {tmp_path}/hub/checkpoints" in message


def test_own_features_score_too(tmp_path, score):
    """A TorchScript file that takes the mean of every row."""

    class Rows(torch.nn.Module):
        def forward(self, x):
            return x.float().mean(3).flatten(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(Rows()), tmp_path / "rows.pt")
    found = score("digits:test", "digits:train", "--features", tmp_path / "rows.pt", "--kid-subsets", "2")
    assert found.keys() == SCORES
    assert found["fid"]["protocol"]["features_sha256"] == sha256_of((tmp_path / "rows.pt").read_bytes())
    np.savez(tmp_path / "colour.npz", np.zeros((20, 8, 8, 3), np.uint8))
    message = mistake(tmp_path / "colour.npz", "digits:train", "--features", tmp_path / "rows.pt")
    assert f"{tmp_path}/colour.npz has 3 channels and Digits:train has 1" in message


def start(*arguments):
    return Process(["score", *arguments], Path.cwd(), stderr=True)


@pytest.mark.slow
def test_processes_that_start_together_print_the_same_and_share_a_cache(cache):
    """Standard output is JSON alone, standard error is empty."""
    together = [start("digits:test", "digits:train", *DIGITS, "--json") for _ in range(4)]
    outputs = [process.communicate(timeout=300) for process in together]
    assert [process.returncode for process in together] == [0] * 4
    assert {errors for _, errors in outputs} == {""}
    assert len({out for out, _ in outputs}) == 1
    assert json.loads(outputs[0][0]).keys() == SCORES
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 1


@pytest.mark.slow
def test_a_mistake_ends_the_process_with_status_2_and_one_line():
    process = start("digits:test", "nowhere", "--features", "digits")
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert errors.startswith("images not found: nowhere; use") and errors.count("\n") == 1
