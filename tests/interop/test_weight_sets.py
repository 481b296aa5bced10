"""Which weights an import takes where there are averaged and raw ones, and what it calls them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel

from lit_diffusion.cli.entry import dispatch
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.weight_sets import guess_kind
from tests.interop.conftest import SMALL, imported
from tests.interop.originals import Weights, released


@pytest.fixture
def training(folder_of, tmp_path) -> tuple[Path, float, float]:
    """What diffusers' train_unconditional.py leaves: the pipeline, and a checkpoint with the average and raw weights.

    The folder of the checkpoint, and a weight of each.
    """
    network, folder = folder_of(SMALL, DDPMScheduler(num_train_timesteps=20))
    average = EMAModel(network.parameters(), decay=0.9999, model_cls=UNet2DModel, model_config=network.config)
    first = network.conv_in.bias[0].item()
    with torch.no_grad():
        network.conv_in.bias[0] = 7.0
    checkpoint = folder / "checkpoint-500"
    average.save_pretrained(checkpoint / "unet_ema")
    network.save_pretrained(checkpoint / "unet")
    return checkpoint, first, 7.0


def kind(run: Path) -> str:
    """What the run says that it imported; its average goes on from averaged weights only."""
    said = json.loads((run / "origin.json").read_text())["weights"]
    updates = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["averaging_state"]["n_averaged"]
    assert int(updates) == (said == "ema")
    return said


@pytest.mark.parametrize(
    ("part", "options", "expected"),
    [
        ("", [], "ema"),
        ("", ["--weights", "ema"], "ema"),
        ("", ["--weights", "raw"], "raw"),
        ("unet_ema", [], "ema"),
        ("unet", [], "raw"),
        ("unet/diffusion_pytorch_model.safetensors", [], "raw"),
        ("unet_ema/diffusion_pytorch_model.safetensors", ["--weights", "ema"], "ema"),
    ],
)
def test_a_checkpoint_of_diffusers_training_gives_the_weights_that_are_asked_for(
    part, options, expected, training, tmp_path, capsys
):
    checkpoint, averaged, raw = training
    ours = imported(checkpoint / part, tmp_path / "run", *options)
    assert ours.network.stem.bias[0].item() == (averaged if expected == "ema" else raw)
    assert kind(tmp_path / "run") == expected
    assert ours.num_steps == 20  # of the scheduler that lies with the pipeline, next to the checkpoint
    said = capsys.readouterr().out
    assert f"diffusers, {'EMA' if expected == 'ema' else 'raw'} weights" in said
    assert ("it holds both: --weights ema is unet_ema and --weights raw is unet" in said) == (part == "")


def test_an_average_saved_alone_is_one(training, tmp_path):
    """In a folder of any name: diffusers' config records how it was averaged."""
    shutil.copytree(training[0] / "unet_ema", tmp_path / "mine")
    imported(tmp_path / "mine", tmp_path / "run")
    assert kind(tmp_path / "run") == "ema"


@pytest.mark.parametrize(("part", "other"), [("unet", "ema"), ("unet_ema", "raw")])
def test_a_kind_that_the_source_does_not_hold_is_refused(part, other, training, tmp_path):
    holds = "averaged" if other == "raw" else "raw"
    with pytest.raises(ConfigError, match=f"--weights: expected .*{part} holds {holds} weights; got {other}; omit it"):
        imported(training[0] / part, tmp_path / "run", "--weights", other)
    assert not (tmp_path / "run").exists()


def test_a_source_that_does_not_say_is_taken_as_averaged_which_is_said(small, tmp_path, capsys):
    imported(small, tmp_path / "run")
    assert kind(tmp_path / "run") == "ema"
    assert (
        "note       taken as averaged weights (the source does not say); --weights raw if not"
        in capsys.readouterr().out
    )


@pytest.fixture(scope="module")
def two() -> dict[str, dict]:
    """Averaged and raw weights of the release's network, by the release's names."""
    sets = {}
    for name, first in (("ema", 3.0), ("raw", 7.0)):
        weights = Weights()
        released(
            weights,
            torch.zeros(1, 3, 8, 8),
            torch.zeros(1),
            width=32,
            factors=(1, 2),
            blocks=1,
            attends=(1,),
            outputs=3,
        )
        weights["conv_in.bias"][0] = first
        sets[name] = dict(weights)
    return sets


OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
FILES = {
    "state_dict and state_dict_ema": lambda ema, raw: {"epoch": 3, "state_dict": raw, "state_dict_ema": ema},
    "model, ema and optimizer": lambda ema, raw: {"model": raw, "ema": ema, "optimizer": OPTIMIZER, "step": 9},
    "a list like DDIM's": lambda ema, raw: [{f"module.{k}": v for k, v in raw.items()}, OPTIMIZER, 1, 9, ema],
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
@pytest.mark.parametrize(("options", "expected"), [([], "ema"), (["--weights", "raw"], "raw")])
def test_a_file_with_both_gives_the_weights_that_are_asked_for(make, options, expected, two, tmp_path):
    torch.save(make(**two), tmp_path / "ckpt.pth")
    ours = imported(tmp_path / "ckpt.pth", tmp_path / "run", "-c", "configs/cifar10.yaml", *options)
    assert ours.network.stem.bias[0].item() == {"ema": 3.0, "raw": 7.0}[expected]
    assert kind(tmp_path / "run") == expected


def test_an_average_in_a_form_that_we_do_not_read_is_not_passed_over(two, tmp_path):
    """A list of tensors without names, which torch_ema saves, next to raw weights."""
    torch.save({"model": two["raw"], "ema": {"decay": 0.99, "shadow_params": [torch.ones(2)]}}, tmp_path / "ckpt.pth")
    with pytest.raises(ConfigError, match="expected one set of averaged weights, got 0 among model, ema; .*--weights"):
        imported(tmp_path / "ckpt.pth", tmp_path / "run")
    imported(tmp_path / "ckpt.pth", tmp_path / "run", "-c", "configs/cifar10.yaml", "--weights", "raw")
    assert kind(tmp_path / "run") == "raw"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model500000.pt", "raw"),
        ("ema_0.9999_500000.pt", "ema"),
        ("diffusion_cifar10_model/model-790000.ckpt", "raw"),
        ("ema_diffusion_cifar10_model/model-790000.ckpt", "ema"),
        ("diffusion_pytorch_model.non_ema.bin", "raw"),
    ],
)
def test_names_of_the_code_bases_say_which_weights_a_file_holds(name, expected, two, tmp_path, capsys):
    """improved-diffusion, pytorch_diffusion and diffusers name their files so; --weights overrules a name."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    torch.save(two["raw"], tmp_path / name)
    imported(tmp_path / name, tmp_path / "run", "-c", "configs/cifar10.yaml")
    assert kind(tmp_path / "run") == expected
    said = "taken as raw weights (by their name); --weights ema if not"
    assert (said in capsys.readouterr().out) == (expected == "raw")
    other = {"ema": "raw", "raw": "ema"}[expected]
    imported(tmp_path / name, tmp_path / "other", "-c", "configs/cifar10.yaml", "--weights", other)
    assert kind(tmp_path / "other") == other


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no_ema", "raw"),
        ("model_without_ema.pt", "raw"),
        ("noema.pt", "raw"),
        ("ema_off/x.pt", "raw"),
        ("non-ema.ckpt", "raw"),
        ("unet_ema/diffusion_pytorch_model.safetensors", "ema"),
        ("unet/diffusion_pytorch_model.safetensors", None),
        ("ema/model1000.pt", "ema"),
        ("cinema/x.pt", None),
    ],
)
def test_names_say_which_weights_they_hold_or_nothing(name, expected):
    assert guess_kind(Path("source") / name) == expected


def test_models_of_the_hub_with_a_recipe_keep_it(small, tmp_path, monkeypatch):
    """In the hub's cache, every file is a link into another folder."""
    monkeypatch.chdir(tmp_path)
    dispatch(["import", str(small), "-o", "runs/a", "-c", "configs/digits.yaml"])
    dispatch(["export", "runs/a", "-o", "exported"])
    snapshot, blobs = tmp_path / "snapshots/abc", tmp_path / "blobs"
    blobs.mkdir()
    for number, file in enumerate(one for one in Path("exported").rglob("*") if one.is_file()):
        link = snapshot / file.relative_to("exported")
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / str(number))
        link.symlink_to(blobs / str(number))
    dispatch(["import", str(snapshot), "-o", "runs/b"])
    assert "Digits" in Path("runs/b/config.yaml").read_text()
