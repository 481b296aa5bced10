"""Patches lie where they should, are standardized by what may be seen, and carry the noise that was asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.data import Texture
from lit_diffusion.errors import ConfigError

WIDTH, HEIGHT, BORDER = 82, 20, 62


@pytest.fixture
def ramp(tmp_path):
    """A picture whose red is the column and whose green is the row."""
    levels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    levels[..., 0], levels[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    Image.fromarray(levels).save(tmp_path / "ramp.png")
    return tmp_path / "ramp.png", levels


def ready(file, **arguments):
    data = Texture(str(file), **{"size": 5, "num_train": 3_000, "num_test": 800, **arguments})
    data.setup()
    return data


def test_training_patches_come_from_the_left_and_test_patches_from_the_right(ramp):
    file, levels = ramp
    data = ready(file, channels=3, noise=0, num_test=8_000)
    left = levels[:, :BORDER].astype(float)
    places = {}
    for split in ("train", "test"):
        patches = data.images(split).double() * left.std() + left.mean()  # levels again
        red, green = patches[:, 0].round(), patches[:, 1].round()
        assert torch.allclose(red, red[:, :1, :1] + torch.arange(5), atol=1e-4)
        assert torch.allclose(green, green[:, :1, :1] + torch.arange(5)[:, None], atol=1e-4)
        places[split] = set(zip(red[:, 0, 0].int().tolist(), green[:, 0, 0].int().tolist()))
    rows = range(HEIGHT - 5 + 1)
    assert places["train"] <= {(x, y) for x in range(BORDER - 5 + 1) for y in rows}
    assert places["test"] == {(x, y) for x in range(BORDER, WIDTH - 5 + 1) for y in rows}
    assert {x for x, _ in places["train"]} == set(range(BORDER - 5 + 1)) and {y for _, y in places["train"]} == set(
        rows
    )


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_noise_is_uniform_of_that_width_around_the_level(ramp, noise):
    file, levels = ramp
    grey = np.array(Image.fromarray(levels).convert("L"))[:, :BORDER].astype(float)
    data = ready(file, noise=noise)
    patches = data.images("train").double() * np.sqrt(grey.var() + noise**2 / 12) + grey.mean()
    offset = patches - patches.round()
    assert offset.abs().max() <= noise / 2 + 1e-4
    assert offset.var().item() == pytest.approx(noise**2 / 12, rel=0.02)
    assert abs(offset.mean()) < 4 * noise / 12**0.5 / offset.numel() ** 0.5
    assert set(patches.round().unique().int().tolist()) <= set(np.unique(grey).astype(int).tolist())


@pytest.mark.parametrize("name", ["brick.png", "grass.png", "gravel.png", "coffee.png"])
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_of_photographs_have_nearly_mean_zero_and_variance_one(name, channels):
    """Nearly: pixels near the border of the picture are in fewer patches than others."""
    skimage = pytest.importorskip("skimage")
    data = ready(Path(skimage.__file__).parent / "data" / name, size=16, channels=channels)
    x = data.images("train").double()
    assert x.shape == (3_000, channels, 16, 16) and data.image_shape == (channels, 16, 16)
    assert abs(x.mean()) < 0.1 and abs(x.var() - 1) < 0.1
    assert data.images("test").isfinite().all()


def test_patches_are_a_function_of_data_seed_and_not_of_the_run_s(ramp):
    data = ready(ramp[0])
    again, other = ready(ramp[0], seed=5), ready(ramp[0], data_seed=1)
    assert torch.equal(again.images("train"), data.images("train"))
    assert torch.equal(again.images("test"), data.images("test"))
    assert not torch.equal(other.images("train"), data.images("train"))


def test_patches_are_served_as_they_are(ramp):
    data = ready(ramp[0], eval_batch_size=800)
    (batch,) = data.eval_batches("test")
    assert data.num_levels is None and batch.dtype == torch.float32 and torch.equal(batch, data.images("test"))


def test_a_picture_may_be_all_for_training(ramp):
    assert ready(ramp[0], num_test=0).sizes == {"train": 3_000, "test": 0}


def refusal(file, **arguments):
    with pytest.raises(ConfigError) as error:
        ready(file, **arguments)
    return str(error.value)


def test_a_missing_or_broken_picture_is_refused(tmp_path):
    assert refusal(tmp_path / "none.png").startswith(f"file: expected an existing file, got '{tmp_path}/none.png'")
    assert refusal(tmp_path).startswith("file: expected an existing file")
    (tmp_path / "text.png").write_text("no picture")
    assert refusal(tmp_path / "text.png").startswith(f"file: {tmp_path}/text.png: cannot be read as an image")


@pytest.mark.parametrize("size", [21, 22])
def test_a_picture_too_small_for_its_patches_is_refused(ramp, size):
    ready(ramp[0], size=20)
    message = refusal(ramp[0], size=size)
    assert message.startswith(f"file: expected {4 * size}x{size} or more, for patches of {size} ")
    assert "is 82x20; use a larger picture" in message


def test_a_picture_too_narrow_is_refused(tmp_path):
    Image.effect_noise((79, 40), 50).save(tmp_path / "narrow.png")
    assert "narrow.png is 79x40; use a larger picture" in refusal(tmp_path / "narrow.png", size=20)


def test_a_picture_of_one_colour_is_refused(tmp_path):
    Image.new("L", (40, 40), 137).save(tmp_path / "plain.png")
    assert refusal(tmp_path / "plain.png").endswith("plain.png has only one colour; use a picture of a texture")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"size": 0}, "size: expected 1 or more, got 0"),
        ({"channels": 4}, "channels: expected 1 for grey or 3 for RGB, got 4"),
        ({"noise": -0.1}, "noise: expected 0 to 1 levels, got -0.1"),
        ({"noise": 2}, "noise: expected 0 to 1 levels, got 2"),
        ({"num_train": 0}, "num_train: expected 1 or more, got 0"),
        ({"num_test": -1}, "num_test: expected 0 or more, got -1"),
    ],
)
def test_arguments_that_make_no_patches_are_refused(arguments, message):
    assert refusal("bark.png", **arguments) == message
