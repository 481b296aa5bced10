"""What `lightning predict` writes: the right files, of the right images, the same every time."""

import csv
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import nn

from lit_diffusion.callbacks.predict import Interpolate, Prediction, Reconstruct, Samples
from lit_diffusion.callbacks.predict.reconstruct import starting_at
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.diffusion import (
    AncestralSampler,
    CleanImage,
    DDIMSampler,
    GaussianProcess,
    GaussianReverse,
    LinearSchedule,
    PosteriorVariance,
    Simple,
)
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.pixels import to_float, to_levels
from lit_diffusion.visualization import images as pictures
from tests.conftest import CONFIGS

NUM_STEPS = 20
SCHEDULE = LinearSchedule(NUM_STEPS, 0.01, 0.5)


class Few(ImageData):
    """Six random images for training, `test` of them for tests."""

    num_levels = 256

    def __init__(self, channels: int = 1, test: int = 6):
        super().__init__(batch_size=4)
        self.image_shape = (channels, 4, 4)
        levels = torch.randint(0, 256, (6, *self.image_shape), generator=torch.Generator().manual_seed(1))
        self.levels, self.test = levels.to(torch.uint8), test

    def read(self):
        return {"train": MemoryStore(self.levels), "test": MemoryStore(self.levels[: self.test])}


class Exact(nn.Module):
    """E[x_0 | x_t] for data that are the images of `Few`: their mean, weighted by how well they explain x_t."""

    def __init__(self, channels: int):
        super().__init__()
        self.images = nn.Parameter(to_float(Few(channels).levels, 256))

    def forward(self, x, index):
        kept, sigma2 = SCHEDULE.alpha_bar(index + 1).to(x), SCHEDULE.sigma2(index + 1).to(x)  # (B,)
        distance = (x[:, None] - kept.sqrt().view(-1, 1, 1, 1, 1) * self.images).square().flatten(2).sum(2)
        weights = (-distance / (2 * sigma2[:, None])).softmax(1)  # (B, 6)
        return torch.einsum("bn,nchw->bchw", weights, self.images)


def predict(folder, *predictions: Prediction, channels=1, broken=False, data=None, **options):
    """Runs predictions as the command does, and returns their folder."""
    reverse = GaussianReverse(
        GaussianProcess(SCHEDULE), lambda *_: Exact(channels), CleanImage(), PosteriorVariance(), channels=channels
    )
    if broken:
        reverse.network.images.data.fill_(float("nan"))
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        callbacks=[*predictions],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    module, data = DiffusionModule(reverse, Simple(), AncestralSampler()), data or Few(channels)
    data.setup()
    for prediction in predictions:
        prediction.check(SimpleNamespace(datamodule=data), module)
    trainer.predict(module, datamodule=data, return_predictions=False)
    return folder / "predict"


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_pngs_and_grid_hold_the_same_samples(channels, tmp_path):
    """As many as asked for, in order; the NPZ with three channels, which is what evaluators take."""
    folder = predict(tmp_path, Samples(150, 64), channels=channels)
    with np.load(folder / "samples.npz") as file:
        assert file.files == ["arr_0"]
        samples = file["arr_0"]
    assert samples.shape == (150, 4, 4, 3) and samples.dtype == np.uint8
    assert len(np.unique(samples, axis=0)) > 1
    numbered = sorted((folder / "samples").iterdir())
    assert [path.name for path in numbered] == [f"{i:06d}.png" for i in range(150)]
    for path, expected in zip(numbered, samples):
        image = Image.open(path)
        assert image.mode == ("L" if channels == 1 else "RGB")
        assert (np.asarray(image.convert("RGB")) == expected).all()
    how = json.loads((folder / "samples.json").read_text())
    assert (how["samples"], how["sampler"], how["block_size"]) == (150, "AncestralSampler", 64)
    grid = np.asarray(Image.open(folder / "grid.png"))
    cells = grid[2:, 2:].reshape(10, 50, 10, 50, 3).transpose(0, 2, 1, 3, 4).reshape(100, 50, 50, 3)
    assert (cells[:, :48:12, :48:12] == samples[:100]).all()


QUICK = ["--trainer.logger=false", "--trainer.accelerator=cpu", "--grids.every_n_steps=0", "--bits_per_dim.splits=[]"]
DRAWN = {  # options of a short fit; shape and type of the array, of the picture
    "swiss_roll": (["--data.num_train=2000", "--data.num_test=50"], (70, 2), np.float32),
    "heartbeat": (["--data.num_train=600", "--data.num_test=50", "--model.reverse.process.schedule.num_steps=9"],
                  (70, 20), np.uint8),
    "dead_leaves": (["--data.num_train=64", "--data.num_test=4", "--model.reverse.process.schedule.num_steps=9",
                     "--model.reverse.network.width=8"], (70, 16, 16, 1), np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_not_an_image_of_levels_is_written_as_it_is(name, command, tmp_path):
    """Points, bits and real-valued images as the sampler draws them, in blocks of 64; only images are PNGs, too."""
    options, shape, dtype = DRAWN[name]
    command("fit", "-c", f"{CONFIGS}/{name}.yaml", *QUICK, *options, "--trainer.max_steps=2", "--run.name=here")
    command("predict", "-c", "runs/here/config.yaml", "--ckpt_path=last", "--prediction.num_samples=70")
    folder = tmp_path / "runs/here/predict"
    with np.load(folder / "samples.npz") as file:
        x = file["arr_0"]
    assert (x.shape, x.dtype) == (shape, dtype)
    if name == "heartbeat":
        assert set(np.unique(x)) == {0, 1}
    else:
        assert np.abs(x).max() > 1 and np.isfinite(x).all()  # nothing is clipped
    images = len(shape) == 4
    numbered = sorted(folder.glob("samples/*.png"))
    assert len(numbered) == (70 if images else 0) and (folder / "samples").exists() == images
    for path, one in zip(numbered, x):
        shown = np.asarray(Image.open(path))
        np.testing.assert_allclose(shown, (one[..., 0] / 3**0.5).clip(-1, 1) * 127.5 + 127.5, atol=0.51)
    assert np.asarray(Image.open(folder / "grid.png")).std() > 0
    assert json.loads((folder / "samples.json").read_text())["samples"] == 70


@pytest.mark.parametrize("kind", ["Reconstruct", "Interpolate"])
def test_what_shows_images_refuses_points_in_one_line(kind, command):
    options, _, _ = DRAWN["swiss_roll"]
    command("fit", "-c", f"{CONFIGS}/swiss_roll.yaml", *QUICK, *options, "--trainer.max_steps=1", "--run.name=here")
    with pytest.raises(ConfigError, match=rf"{kind} needs images, but the data's examples have shape \(2,\)"):
        command("predict", "-c", "runs/here/config.yaml", "--ckpt_path=last", f"--prediction={kind}")


def test_samples_are_those_of_the_sampler_block_by_block(tmp_path):
    """Of 8 bits, from the generators of (seed, block)."""
    seen = []

    class Expected(Prediction):
        def predict(self, trainer, pl_module):
            for block, count in enumerate((4, 4, 2)):
                x_0 = DDIMSampler(5)(pl_module.reverse, (count, 1, 4, 4), pl_module.sample_generator(block))
                seen.append(to_levels(x_0, 256))

    folder = predict(tmp_path, Samples(10, 4, DDIMSampler(5)), Expected())
    assert (np.load(folder / "samples.npz")["arr_0"][..., 0] == torch.cat(seen)[:, 0].numpy()).all()


def test_the_same_prediction_makes_the_same_bytes(tmp_path, monkeypatch):
    """All files of all kinds; another seed makes others."""

    def run(name):
        predictions = Samples(10, 4), Reconstruct(), Interpolate(2), Interpolate(2)
        return contents(predict(tmp_path / name, *predictions))

    first, second = run("a"), run("b")
    assert first == second and len(first) == 10 + 3 + 3 + 2
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    other = run("c")
    assert all(other[name] != first[name] for name in ("samples.npz", "grid.png", "reconstruct.npz"))


def test_a_prediction_replaces_the_samples_of_an_earlier_one_and_nothing_else(tmp_path):
    """Ten after twenty leave ten; other files stay."""
    folder = predict(tmp_path, Samples(20, 8), Reconstruct())
    (folder / "mine.png").touch()
    predict(tmp_path, Samples(10, 8))
    expected = {f"samples/{i:06d}.png" for i in range(10)}
    expected |= {"samples.npz", "samples.json", "grid.png", "mine.png"}
    assert set(contents(folder)) == expected | {f"reconstruct.{kind}" for kind in ("png", "npz", "csv")}
    assert np.load(folder / "samples.npz")["arr_0"].shape == (10, 4, 4, 3)


@pytest.mark.parametrize("prediction", [Samples(10, 4), Reconstruct(), Interpolate(2), Interpolate(2, step=3)])
def test_a_diverged_model_is_said_to_be_one_and_leaves_earlier_files_alone(prediction, tmp_path):
    """NaN is refused, not drawn black."""
    before = contents(predict(tmp_path, Samples(6, 6), Reconstruct()))
    with pytest.raises(ConfigError, match=r"^the model has diverged: \d+ of \d+ samples are not finite; use"):
        predict(tmp_path, prediction, broken=True)
    assert contents(tmp_path / "predict") == before  # no half-written file either


def test_samples_are_streamed_to_an_uncompressed_member(tmp_path):
    """Readers of a part of the file, as guided-diffusion's, need version 1.0 of the header and no compression."""
    folder = predict(tmp_path, Samples(3, 2))
    with zipfile.ZipFile(folder / "samples.npz") as archive:
        (member,) = archive.infolist()
        assert (member.filename, member.compress_type) == ("arr_0.npy", zipfile.ZIP_STORED)
        with archive.open(member) as array:
            assert np.lib.format.read_magic(array) == (1, 0)


def test_reconstructions_from_small_steps_are_the_images(tmp_path):
    """With an exact model: what little noise hides is restored, what all noise hides is another image of the data."""
    folder = predict(tmp_path, Reconstruct([1, NUM_STEPS], num_images=6))
    file, originals = np.load(folder / "reconstruct.npz"), Few().levels.permute(0, 2, 3, 1).numpy()
    assert file["steps"].tolist() == [1, NUM_STEPS]
    near, far = (np.rint((x + 1) * 127.5) for x in file["reconstructions"])
    assert (near == originals).all()
    assert (far != originals).any(axis=(1, 2, 3)).sum() >= 3
    assert all((x == originals).all(axis=(1, 2, 3)).any() for x in far)
    rows = list(csv.DictReader((folder / "reconstruct.csv").open()))
    for row, x in zip(rows, file["reconstructions"]):
        expected = 127.5 * np.sqrt(np.mean((x.astype(np.float64) - file["originals"]) ** 2))
        assert float(row["rmse"]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert [row["t"] for row in rows] == ["1", str(NUM_STEPS)]


def test_all_steps_of_a_reconstruction_share_one_noise(tmp_path):
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps; by default at the quarters of T."""
    file = np.load(predict(tmp_path, Reconstruct()) / "reconstruct.npz")
    assert file["steps"].tolist() == [5, 10, 15, 20]
    kept = SCHEDULE.alpha_bar(torch.tensor(file["steps"])).view(-1, 1, 1, 1, 1).numpy()
    eps = (file["noisy"] - np.sqrt(kept) * file["originals"]) / np.sqrt(1 - kept)
    np.testing.assert_allclose(eps, np.broadcast_to(eps[:1], eps.shape), atol=1e-5)
    assert 0.7 < eps[0].std() < 1.3


def test_the_picture_of_reconstructions_has_a_label_next_to_every_row(tmp_path):
    """Originals, then noise and the way back of each step; no label reaches into another row or into the images."""
    folder = predict(tmp_path, Reconstruct([3, NUM_STEPS], num_images=2))
    file, picture = np.load(folder / "reconstruct.npz"), np.asarray(Image.open(folder / "reconstruct.png"))
    pairs = zip(file["noisy"], file["reconstructions"])
    rows = np.concatenate([file["originals"], *(x for pair in pairs for x in pair)])
    body = np.asarray(pictures.grid(torch.tensor(rows).movedim(-1, 1), columns=2))
    margin = picture.shape[1] - body.shape[1]
    assert (picture[:, margin:] == body).all()
    labels = (picture[:, :margin] < 255).any(axis=2)
    assert not labels[:, :2].any() and not labels[:, -2:].any()
    for row in range(5):
        strip = labels[2 + 50 * row : 50 + 50 * row]
        assert strip.any() and not strip[:4].any() and not strip[-4:].any()


@pytest.mark.parametrize(("t", "visited"), [(6, [2, 5, 6]), (5, [2, 5]), (1, [1]), (9, [2, 5, 8, 9])])
def test_a_chain_from_t_visits_t_and_the_samplers_steps_below(t, visited):
    """The sampler itself stays as it is, and so do its other settings."""
    sampler = DDIMSampler([2, 5, 8], eta=0.3)
    shortened = starting_at(sampler, t, LinearSchedule(10))
    assert list(shortened.subset(LinearSchedule(10))) == visited and shortened.eta == 0.3
    assert sampler.steps == [2, 5, 8]


def test_the_ends_of_an_interpolation_are_the_encoded_and_decoded_images(tmp_path):
    """Image 2i on the left, 2i + 1 on the right; the way between depends on both."""
    seen, sampler = [], DDIMSampler(10)

    class Expected(Prediction):
        def predict(self, trainer, pl_module):
            x = to_float(Few().levels, 256)
            for _, latents in sampler.encode(pl_module.reverse, x):
                x = latents
            for step in sampler.chain(pl_module.reverse, x):
                x = step.x_s
            seen.append(x.unflatten(0, (3, 2)).movedim(-3, -1).numpy())

    file = np.load(predict(tmp_path, Interpolate(3, 5, sampler=sampler), Expected()) / "interpolate.npz")
    assert file["weights"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert file["images"].shape == (3, 5, 4, 4, 1)
    np.testing.assert_allclose(file["images"][:, [0, -1]], seen[0], atol=1e-4)
    expected = to_float(Few().levels, 256).unflatten(0, (3, 2)).movedim(-3, -1)
    assert (file["originals"] == expected.numpy()).all()


def test_the_picture_of_interpolations_stands_between_the_real_images(tmp_path):
    """An original, the way, the other original, from left to right; one pair a row."""
    folder = predict(tmp_path, Interpolate(3, 2, sampler=DDIMSampler(5)))
    file, picture = np.load(folder / "interpolate.npz"), np.asarray(Image.open(folder / "interpolate.png"))
    rows = np.concatenate([file["originals"][:, :1], file["images"], file["originals"][:, 1:]], axis=1)
    body = pictures.grid(torch.tensor(rows).flatten(0, 1).movedim(-1, 1), columns=4)
    assert (picture[pictures.LABEL_HEIGHT :] == np.asarray(body)).all()


def test_an_interpolation_at_a_small_step_keeps_its_ends(tmp_path):
    """Noised to t = 1 and back by an exact model: the images themselves."""
    file = np.load(predict(tmp_path, Interpolate(3, 3, step=1)) / "interpolate.npz")
    np.testing.assert_allclose(file["images"][:, [0, -1]], file["originals"], atol=1e-5)


def test_an_interpolation_of_the_prior_needs_no_images(tmp_path):
    """Its ends are images of the data, as the model knows no others."""
    file = np.load(predict(tmp_path, Interpolate(5, source="prior"), data=Few(test=0)) / "interpolate.npz")
    assert set(file.files) == {"weights", "images"}
    ends = torch.tensor(file["images"][:, [0, -1]]).flatten(0, 1).flatten(1)
    images = to_float(Few().levels, 256).flatten(1)
    assert (torch.cdist(ends, images).min(dim=1).values < 0.05).all()


def test_predictions_do_not_touch_the_global_random_generators(tmp_path):
    """Nor leave the module in another mode."""
    before = torch.get_rng_state()
    predict(tmp_path, Samples(3, 2), Reconstruct(), Interpolate(2), Interpolate(2, source="prior"))
    assert torch.equal(torch.get_rng_state(), before)


WRONG = {
    "no samples": (lambda: Samples(0), "^num_samples: expected 1 or more, got 0$"),
    "no batch": (lambda: Samples(4, 0), "^batch_size: expected 1 or more, got 0$"),
    "no steps": (
        lambda: Reconstruct([]),
        r"^steps: expected steps from 1 to T, .*; got \[\]$",
    ),
    "step 0": (lambda: Reconstruct([0, 3]), r"^steps: expected steps from 1 to T, .*; got \[0, 3\]$"),
    "no images": (lambda: Reconstruct(num_images=0), "^num_images: expected 1 or more, got 0$"),
    "no pairs": (lambda: Interpolate(0), "^num_pairs: expected 1 or more, got 0$"),
    "one point": (lambda: Interpolate(num_points=1), "^num_points: expected 2 or more, got 1$"),
    "a step of the prior": (
        lambda: Interpolate(source="prior", step=3),
        "^step: expected null for .*; got 3$",
    ),
    "chain beyond T": (
        lambda: Samples(sampler=DDIMSampler(21)),
        "^DDIMSampler.steps: expected at most the model's T",
    ),
    "noise beyond T": (lambda: Reconstruct([21], split="train"), "^steps: expected at most T = 20, got 21$"),
    "split": (lambda: Reconstruct(split="val"), "^split: expected train or test, got val$"),
    "empty split": (
        lambda: Reconstruct(),
        r"^split: expected 1 or more images, but test holds 0; use train \(6\)$",
    ),
    "too few for the pairs": (
        lambda: Interpolate(9),
        "^split: expected 18 or more images, but test holds 0; ask for fewer$",
    ),
    "ancestral latents": (
        lambda: Interpolate(source="prior", sampler=AncestralSampler()),
        "^sampler: expected a deterministic sampler, got AncestralSampler, which has no latents; use DDIMSampler with",
    ),
    "noisy latents": (
        lambda: Interpolate(source="prior", sampler=DDIMSampler(eta=0.5)),
        "^sampler: expected a deterministic sampler, got DDIMSampler",
    ),
    "step beyond T": (
        lambda: Interpolate(3, split="train", step=21),
        "^step: expected 1 to T = 20, .*; got 21$",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_one_line_and_nothing_is_written(make, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as error:
        predict(tmp_path, make(), data=Few(test=0))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "predict").exists()


def test_images_of_other_channels_are_written_with_all_of_them(tmp_path):
    """Not grey, not colours: channels last in the arrays, side by side in the pictures."""
    folder = predict(tmp_path, Samples(5, 5), Reconstruct([3], 2), Interpolate(num_pairs=1, num_points=3), channels=5)
    with np.load(folder / "samples.npz") as file:
        samples = file["arr_0"]
    assert samples.shape == (5, 4, 4, 5)
    for number, sample in enumerate(samples):
        picture = np.asarray(Image.open(folder / f"samples/{number:06d}.png"))
        assert all((picture[:, 5 * i : 5 * i + 4] == sample[..., i]).all() for i in range(5))
    for name in ("grid", "reconstruct", "interpolate"):
        assert Image.open(folder / f"{name}.png").width > 5 * 48


@pytest.mark.parametrize(("channels", "mode"), [(2, "LA"), (4, "RGBA")])
def test_transparent_images_are_written_as_such_and_shown_over_white(tmp_path, channels, mode):
    """Files hold the levels of the arrays; the grid has no alpha."""
    folder = predict(tmp_path, Samples(3, 3), channels=channels)
    with np.load(folder / "samples.npz") as file:
        samples = file["arr_0"]
    assert samples.shape == (3, 4, 4, channels)
    for number, sample in enumerate(samples):
        picture = Image.open(folder / f"samples/{number:06d}.png")
        assert picture.mode == mode and (np.asarray(picture) == sample).all()
    shown = np.asarray(Image.open(folder / "grid.png").convert("RGB"))[2:50:12, 2:50:12]  # of the first, enlarged
    colour, opacity = samples[0][..., :-1] / 255, samples[0][..., -1:] / 255
    assert np.abs(shown / 255 - (colour * opacity + 1 - opacity)).max() <= 1.01 / 255
    assert 0.1 < opacity.mean() < 0.9


@pytest.mark.slow
def test_two_processes_make_the_files_of_one(tmp_path):
    """Bytes and all, with the last block on either of them."""
    predictions = Samples(20, 8), Reconstruct(), Interpolate(2)
    one = contents(predict(tmp_path / "one", *predictions))
    two = contents(predict(tmp_path / "two", *predictions, devices=2, strategy="ddp_fork"))
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
