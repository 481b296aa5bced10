"""Diffusion in latents from the command line, on an autoencoder that was trained before."""

import json

import pytest
import torch
import yaml

from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import TrainedAutoencoder
from tests.conftest import TINY_AUTOENCODER, TINY_LATENT
from tests.training.test_training import assert_same_training

RUN = [
    *("--trainer.max_steps=6", "--checkpoint.every_n_steps=3", "--trainer.val_check_interval=3"),
    *("--bits_per_dim.splits=[test]", "--bits_per_dim.terms=3", "--ema.decay=0.5"),
]


@pytest.fixture
def autoencoder(toy_run):
    """runs/digits_autoencoder, after two steps."""
    return toy_run("--trainer.max_steps=2", base=TINY_AUTOENCODER, name="digits_autoencoder")


def test_a_run_has_a_measured_scale_a_bound_of_images_and_samples(autoencoder, command, tmp_path):
    """And one that is resumed is the unbroken one, although the autoencoder is read again and the scale is not."""
    command("fit", *TINY_LATENT, *RUN, "--run.name=whole", "--grids.every_n_steps=6", "--grids.num_images=4")
    whole = tmp_path / "runs/whole"
    state = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    theirs = torch.load(autoencoder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for name, weight in theirs.items():
        assert torch.equal(state[f"autoencoder.{name}"], weight)
    assert 0.1 < state["scale"] < 10
    bound = json.loads((whole / "bits_per_dim/test.json").read_text())
    parts = [value["value"] for name, value in bound.items() if name not in ("total", "protocol")]
    assert bound["total"]["value"] == pytest.approx(sum(parts)) and bound["protocol"]["terms"] == 3
    assert not (whole / "bits_per_dim/test.csv").exists()
    assert (whole / "samples/00000006_samples.png").exists() and not [*whole.glob("samples/*chain.png")]
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["scores"]["bits_per_dim/test"]["protocol"]["bound"] == "diffusion in latents"
    settings = summary["settings"]
    assert settings["model"].endswith("LatentDiffusionModule")
    command("fit", *TINY_LATENT, *RUN, "--run.name=parts", f"--ckpt_path={whole}/checkpoints/step=3.ckpt")
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("whole", "parts")))
    config = ["-c", "runs/whole/config.yaml", "--ckpt_path=last"]
    command("predict", *config, "--prediction=Samples", "--prediction.num_samples=3")
    assert len([*whole.glob("predict/samples/*.png")]) == 3
    with pytest.raises(ConfigError, match="Inpaint needs a diffusion model of the examples, got LatentDiffusionModule"):
        command("predict", *config, "--prediction=Inpaint")


def test_a_run_without_its_autoencoder_or_with_one_of_other_data_is_refused(autoencoder, command):
    """In one line with the key, before anything is written."""
    for option, message in (
        (
            "--model.autoencoder.run=runs/other",
            "model.autoencoder.run: expected the folder of a trained VAE's run",
        ),
        ("--data=BinarizedDigits", "run: expected an autoencoder of BinarizedDigits, got one that was trained on Dig"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            command("fit", *TINY_LATENT, *RUN, "--run.name=refused", option)
        assert "\n" not in str(caught.value)
    assert not (autoencoder.parent / "refused").exists()


def test_an_autoencoder_is_a_checkpoint_that_fits_the_config_next_to_it(autoencoder, toy_run):
    def refused(message, run, checkpoint="last"):
        with pytest.raises(ConfigError, match=message):
            TrainedAutoencoder(str(run), checkpoint)

    assert TrainedAutoencoder(str(autoencoder)).data == "Digits"
    refused("no such checkpoint", autoencoder, "best")
    diffusion = toy_run("--trainer.max_steps=2", name="diffusion")
    refused("expected the run of a VAEModule, got one of DiffusionModule", diffusion)
    config = autoencoder / "config.yaml"
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"]["vae"]["init_args"]["latent_shape"] = [5, 4, 4]
    config.write_text(yaml.safe_dump(content))
    refused("holds another architecture", autoencoder)
    config.write_text("model: {class_path: lit_diffusion.modules.VAEModule}\ndata: {class_path: Digits}\n")
    refused("could not build the model of .*config.yaml", autoencoder)
    config.write_text("data: {class_path: Digits}\n")
    refused("could not build the model of .*config.yaml", autoencoder)
