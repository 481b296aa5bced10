"""Pictures show the samples that the model makes, at their place and size."""

import numpy as np
import pytest
import torch
from PIL import Image

from lit_diffusion.callbacks.grids import column_steps
from lit_diffusion.data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.visualization import examples
from lit_diffusion.visualization import images as pictures
from tests.conftest import CONFIGS, TINY


def test_a_grid_shows_every_pixel_of_every_image_enlarged_by_a_whole_factor():
    """Image 3 of two columns stands in the second row, second column; -1 is black and 1 is white."""
    images = torch.full((4, 1, 8, 8), -1.0)
    images[3, 0, 2, 5] = 1.0
    picture = np.asarray(pictures.grid(images, columns=2))
    assert picture.shape == (2 * 50 + 2, 2 * 50 + 2, 3)
    cell = picture[2 + 50 : 2 + 50 + 48, 2 + 50 : 2 + 50 + 48, 0]
    expected = np.zeros((48, 48))
    expected[12:18, 30:36] = 255
    assert (cell == expected).all()
    assert (picture[2:50, 2:50] == 0).all()


def test_larger_images_come_with_larger_labels():
    """Pictures for a projector: twice the side is twice the size, labels included."""
    columns = [torch.zeros(3, 1, 8, 8), torch.ones(3, 1, 8, 8)]
    for picture in (pictures.chain, pictures.rows):
        small, large = picture(columns, ["t = 1", "t = 2"]), picture(columns, ["t = 1", "t = 2"], side=96)
        assert large.width == pytest.approx(2 * small.width, rel=0.05)
        assert large.height == pytest.approx(2 * small.height, rel=0.05)


class FiveChannels(ImageData):
    """Such as of a satellite: 40 images of 17 levels, 8x8."""

    image_shape, num_levels = (5, 8, 8), 17

    def __init__(self, batch_size: int = 32):
        super().__init__(batch_size)

    def read(self):
        images = torch.randint(0, 17, (40, *self.image_shape), generator=torch.Generator().manual_seed(0))
        return {"train": MemoryStore(images.to(torch.uint8)), "test": MemoryStore(images[:0].to(torch.uint8))}


def test_five_channels_are_trained_on_and_shown_side_by_side(command, tmp_path):
    """In a fit and in its predictions."""
    data = ["--data=tests.callbacks.test_pictures.FiveChannels", "--model.reverse.channels=5"]
    small = ["--trainer.max_steps=1", "--grids.every_n_steps=1", "--grids.num_images=4", "--grids.num_chains=2"]
    command("fit", *TINY, *data, *small, "--run.name=x")
    folder = tmp_path / "runs/x"
    drawn = {path.stem for path in (folder / "samples").glob("*.png")}
    assert drawn == {"data", "forward", "00000001_samples", "00000001_chain", "00000001_x_0"}
    picture = np.asarray(Image.open(folder / "samples/data.png"))
    assert picture.shape == (2 * 50 + 2, 2 * (5 * 48 + 4 + 2) + 2, 3)
    expected = (FiveChannels().read()["train"].images[3] / 16 * 255).round()  # the last image of the grid
    for channel in range(5):
        left = 2 + 246 + 49 * channel
        assert (picture[52:100:6, left : left + 48 : 6, 0] == expected[channel].numpy()).all()
    command("predict", "-c", str(folder / "config.yaml"), "--ckpt_path", "last", "--prediction.num_samples=4")
    with np.load(folder / "predict/samples.npz") as file:
        assert file["arr_0"].shape == (4, 8, 8, 5)
    assert Image.open(folder / "predict/samples/000003.png").size == (5 * 9 - 1, 8)


@pytest.mark.parametrize("shape", [(1, 6, 6), (2, 6, 6), (4, 6, 6), (2, 3, 6, 6), (3, 20), (20,), (2,), (1,)], ids=str)
def test_examples_of_any_shape_have_pictures(shape):
    """Volumes as slices, signals of several channels one after the other."""
    x = torch.rand(6, *shape) * 2 - 1
    assert examples.grid(x).width > 40
    assert examples.chain([x, x, x], ["a", "b", "c"]).width > 100


def test_the_columns_of_a_chain_run_from_noise_to_image():
    """From T to 0, both included, evenly."""
    assert column_steps(1000) == [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100, 0]
    assert column_steps(3) == [3, 2, 1, 0]
    assert column_steps(1) == [1, 0]


def test_the_chains_end_is_the_grids_beginning(command, tmp_path):
    """The last column of the chain picture holds the first images of the sample grid."""
    small = ["--trainer.max_steps=1", "--grids.every_n_steps=1", "--grids.num_images=4", "--grids.num_chains=2"]
    command("fit", *TINY, *small, "--run.name=x")
    folder = tmp_path / "runs/x/samples"
    chain = np.asarray(Image.open(folder / "00000001_chain.png"))[pictures.LABEL_HEIGHT :]
    grid = np.asarray(Image.open(folder / "00000001_samples.png"))
    assert (chain[2:50, -50:-2] == grid[2:50, 2:50]).all()
    assert (chain[52:100, -50:-2] == grid[2:50, 52:100]).all()
    assert len(np.unique(grid)) > 2


def test_points_are_drawn_with_their_drift_also_where_the_schedule_is_learned(command, tmp_path):
    """data.png and forward.png before training, then samples, chain, estimates and drift."""
    few = ["--data.num_train=2000", "--data.num_test=0", "--bits_per_dim.splits=[]", "--grids.num_images=50"]
    few += ["--model.reverse.process.schedule.start.num_steps=3", "--grids.every_n_steps=1", "--trainer.max_steps=2"]
    quiet = ["--trainer.logger=false", "--trainer.accelerator=cpu"]
    command("fit", "-c", f"{CONFIGS}/swiss_roll.yaml", *few, *quiet, "--run.name=x")
    drawn = {path.stem for path in (tmp_path / "runs/x/samples").glob("*.png")}
    parts = ("samples", "chain", "x_0", "drift")
    assert drawn == {"data", "forward"} | {f"0000000{step}_{part}" for step in (1, 2) for part in parts}
