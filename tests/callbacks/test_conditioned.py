"""`lightning predict --prediction=Inpaint` and `Denoise`: files of draws given what is known."""

import numpy as np
import pytest
from PIL import Image

from lit_diffusion.callbacks.predict.conditioned import known_part
from lit_diffusion.errors import ConfigError
from tests.conftest import CONFIGS, TINY

POINTS = [
    *(
        "-c",
        f"{CONFIGS}/swiss_roll.yaml",
        "--trainer.logger=false",
        "--trainer.accelerator=cpu",
        "--data.num_train=2000",
    ),
    *(
        "--data.num_test=50",
        "--grids.every_n_steps=0",
        "--bits_per_dim.splits=[]",
        "--trainer.enable_progress_bar=false",
    ),
    *("--model.reverse.process.schedule.start.num_steps=7", "--trainer.max_steps=2", "--run.name=here"),
]


def predict(command, kind: str, *options: str):
    chosen = [f"--prediction={kind}", "--prediction.draws=2", *options]
    command("predict", "-c", "runs/here/config.yaml", "--ckpt_path=last", *chosen)


def test_inpainting_keeps_what_is_known_to_the_last_bit(command, tmp_path):
    """Images and points; the same draws for the same seed."""
    command("fit", *TINY, "--trainer.max_steps=2", "--run.name=here")
    predict(command, "Inpaint", "--prediction.num_images=3")
    arrays = np.load(tmp_path / "runs/here/predict/inpaint.npz")
    assert arrays["draws"].shape == (2, 3, 8, 8, 1)
    assert (arrays["draws"][:, :, :4] == arrays["originals"][None, :, :4]).all()
    assert (arrays["observed"][:, 4:] == 0).all() and not (arrays["draws"][0] == arrays["draws"][1]).all()
    assert Image.open(tmp_path / "runs/here/predict/inpaint.png").size[1] == 4 * 50 + 2
    predict(command, "Inpaint", "--prediction.num_images=3")
    assert (np.load(tmp_path / "runs/here/predict/inpaint.npz")["draws"] == arrays["draws"]).all()


def test_points_are_denoised_with_the_jacobians_covariance(command, tmp_path):
    """In the inference mode of `predict`."""
    command("fit", *POINTS)
    predict(command, "Denoise", "--prediction.covariance=Tweedie", "--prediction.num_images=5")
    arrays = np.load(tmp_path / "runs/here/predict/denoise.npz")
    assert arrays["draws"].shape == (2, 5, 2) and np.isfinite(arrays["draws"]).all()
    assert 0.1 < (arrays["observed"] - arrays["originals"]).std() < 1.0
    predict(command, "Inpaint", "--prediction.known=left", "--prediction.num_images=5")
    arrays = np.load(tmp_path / "runs/here/predict/inpaint.npz")
    assert (arrays["draws"][..., 0] == arrays["originals"][..., 0]).all()


def test_parts_have_names_or_are_pictures(tmp_path):
    """Halves, the frame around the centre, and bright pixels."""
    assert known_part("upper", (1, 4, 4))[0].tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert known_part("right", (4,)).tolist() == [False, False, True, True]
    assert known_part("frame", (3, 4, 4)).sum() == 3 * 12
    mask = np.zeros((4, 6), dtype=np.uint8)
    mask[1, 2] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    found = known_part(str(tmp_path / "mask.png"), (1, 4, 6))
    assert found.sum() == 1 and found[0, 1, 2]
    with pytest.raises(ConfigError, match="known: expected a mask of 5x5, .* but .*mask.png is 6x4"):
        known_part(str(tmp_path / "mask.png"), (1, 5, 5))
    with pytest.raises(ConfigError, match="known: expected upper, lower, left, right, frame, .*; got middle"):
        known_part("middle", (1, 4, 4))
