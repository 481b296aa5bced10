"""Pictures show the samples that the model makes, at their place and size."""

import numpy as np
import torch
from PIL import Image

from lit_diffusion.callbacks.grids import column_steps
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
