"""Which leaf lies in front, how large leaves are, and the moments of the pictures that follow from both."""

import math

import numpy as np
import pytest
import torch

from lit_diffusion.data import DeadLeaves
from lit_diffusion.data.dead_leaves import draw_discs, paint
from lit_diffusion.errors import ConfigError


def ready(**arguments):
    data = DeadLeaves(**{"num_train": 40, "num_test": 20, **arguments})
    data.setup()
    return data


def test_a_pixel_takes_the_first_disc_that_covers_its_centre():
    """On a 4x4 canvas: a small disc in front, a larger one partly behind it, one hidden, one over the right edge."""
    canvas = np.full((1, 4, 4, 1), np.nan)
    discs = np.array([[[0.5, 0.5, 0.6], [1.0, 1.0, 1.2], [1.0, 1.0, 0.9], [5.0, 2.5, 1.6]]])
    paint(canvas, discs, np.array([[[1.0], [2.0], [3.0], [4.0]]]))
    bare = np.nan
    expected = [[1, 2, bare, bare], [2, 2, bare, bare], [bare, bare, bare, 4], [bare, bare, bare, bare]]
    np.testing.assert_array_equal(canvas[0, :, :, 0], expected)


def test_later_leaves_lie_behind_earlier_ones():
    canvas = np.full((2, 2, 2, 3), np.nan)
    paint(canvas, np.array([[[0.5, 1.5, 0.1]], [[1.5, 0.5, 0.1]]]), np.array([[[1.0, 2, 3]], [[4.0, 5, 6]]]))
    assert np.isfinite(canvas).sum() == 6  # x is the column, y the row, and each image has its own discs
    assert canvas[0, 1, 0].tolist() == [1, 2, 3] and canvas[1, 0, 1].tolist() == [4, 5, 6]
    paint(canvas, np.array([[[1.0, 1.0, 9.0]]] * 2), np.zeros((2, 1, 3)))
    assert canvas[0, 1, 0].tolist() == [1, 2, 3] and canvas[1, 0, 1].tolist() == [4, 5, 6]
    assert canvas[0].sum() == 6 and canvas[1].sum() == 15


def test_discs_are_those_of_the_plane_that_may_touch_the_picture():
    """Against r ~ r^-3 and uniform places in a frame that is wide enough for all, of which the others are dropped."""
    size, r_min, r_max = 8, 1.0, 6.0
    random = np.random.RandomState(0)
    r = (r_min**-2 + random.random_sample(1_000_000) * (r_max**-2 - r_min**-2)) ** -0.5
    x, y = random.uniform(-r_max, size + r_max, (2, len(r)))
    touching = (np.abs(x - size / 2) < size / 2 + r) & (np.abs(y - size / 2) < size / 2 + r)
    expected = np.stack([x, y, r], axis=-1)[touching]
    discs = draw_discs((300, 1_000), size, r_min, r_max, random).reshape(-1, 3)
    for statistic in (
        lambda d: d[:, 2],
        lambda d: np.log(d[:, 2]),
        lambda d: d[:, 0],
        lambda d: d[:, 1] ** 2,
        lambda d: d[:, 0] ** 2 * d[:, 2],
    ):
        ours, theirs = statistic(discs), statistic(expected)
        error = math.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
        assert abs(ours.mean() - theirs.mean()) < 4 * error
    assert discs[:, 2].min() >= r_min and discs[:, 2].max() <= r_max


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_neighbours_are_correlated_as_often_as_they_share_a_leaf(noise):
    """P(one leaf) = g(d) / (2 g(0) - g(d)), g(d) the mean area that a disc and the same at distance d have in common
    (Lee, Mumford & Huang 2001); the covariance at distance d is that, times the variance of the leaves."""
    r_min, r_max = 1.0, 6.0
    data = ready(size=8, r_min=r_min, r_max=r_max, noise=noise, num_train=6_000, num_test=0)
    x = data.images("train").double()
    r = (r_min**-2 + (np.arange(100_000) + 0.5) / 100_000 * (r_max**-2 - r_min**-2)) ** -0.5

    def common_area(d):
        half = np.minimum(d / (2 * r), 1)
        return np.mean(2 * r**2 * (np.arccos(half) - half * np.sqrt(1 - half**2)))

    assert abs(x.mean()) < 4 * x.mean(dim=(1, 2, 3)).std() / len(x) ** 0.5
    for d in (0, 1, 2, 5):
        products = (x[..., : 8 - d] * x[..., d:]).mean(dim=(1, 2, 3))
        shared = common_area(d) / (2 * common_area(0) - common_area(d))
        expected = (1 - noise**2) * shared + (noise**2 if d == 0 else 0)
        assert abs(products.mean() - expected) < 4 * products.std() / len(x) ** 0.5, d


def test_a_leaf_has_one_colour_and_its_channels_are_independent():
    x = ready(channels=3, noise=0, num_train=500).images("train").double()  # (N, 3, 32, 32)
    same = (x[..., 1:] == x[..., :-1]).all(dim=1)
    assert 0.3 < same.double().mean() < 0.95 and torch.equal(same, x[:, 0, :, 1:] == x[:, 0, :, :-1])
    assert x.abs().max() < math.sqrt(3)  # the ends of a uniform distribution of variance 1
    products = (x[:, 0] * x[:, 1]).mean(dim=(1, 2))
    assert abs(products.mean()) < 4 * products.std() / len(x) ** 0.5


def test_pictures_are_a_function_of_data_seed_and_not_of_the_run_s():
    data = ready()
    again, other = ready(seed=5), ready(data_seed=1)
    assert torch.equal(again.images("train"), data.images("train"))
    assert torch.equal(again.images("test"), data.images("test"))
    assert not torch.equal(other.images("train"), data.images("train"))
    assert not torch.equal(data.images("train")[:20], data.images("test"))


@pytest.mark.parametrize("size, channels", [(2, 1), (9, 3), (130, 1)])
def test_any_size_is_painted_whole_and_served_as_it_is(size, channels):
    data = ready(size=size, channels=channels, num_train=2, num_test=3, r_min=2, r_max=20)
    (batch,) = data.eval_batches("test")
    assert batch.shape == (3, *data.image_shape) == (3, channels, size, size) and data.num_levels is None
    assert torch.equal(batch, data.images("test")) and batch.isfinite().all() and batch.dtype == torch.float32


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"size": 1}, "size: expected 2 or more, got 1"),
        ({"channels": 2}, "channels: expected 1 for grey or 3 for RGB, got 2"),
        ({"r_min": 0.1}, "r_min: expected 0.5 <= r_min < r_max pixels, got 0.1 and 32"),
        ({"r_min": 5, "r_max": 5}, "r_min: expected 0.5 <= r_min < r_max pixels, got 5 and 5"),
        ({"r_max": math.inf}, "r_min: expected 0.5 <= r_min < r_max pixels, got 1 and inf"),
        ({"noise": -0.1}, "noise: expected 0 or more and less than 1, got -0.1"),
        ({"noise": 1}, "noise: expected 0 or more and less than 1, got 1"),
        ({"num_train": 0}, "num_train: expected 1 or more, got 0"),
        ({"num_test": -1}, "num_test: expected 0 or more, got -1"),
    ],
)
def test_what_cannot_be_painted_is_refused(arguments, message):
    with pytest.raises(ConfigError) as error:
        DeadLeaves(**arguments)
    assert str(error.value) == message
