"""A run exported and imported again is the same model, and diffusers' pipelines draw the same images."""

import inspect
import json

import numpy as np
import pytest
import torch
import yaml
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DModel,
)
from PIL import Image
from safetensors.torch import load_file

from lit_diffusion.cli.entry import dispatch
from lit_diffusion.diffusion import AncestralSampler, DDIMSampler
from lit_diffusion.interop.construct import build_reverse
from lit_diffusion.interop.diffusers import scheduler, unet_config
from tests.conftest import CONFIGS, TINY
from tests.interop.conftest import SMALL, imported, model_of

STEPS = ["--trainer.max_steps=3", "--run.name=trained"]
# a run of diffusers' kind: at least two channels a group, or diffusers has no group norm
NETWORK = ["--model.reverse.network.multipliers=[1,2]", "--model.reverse.network.attention_levels=[1]"]
WARMUP = ["--model.reverse.process.schedule=WarmupSchedule", "--model.reverse.process.schedule.fraction=0.5"]


def states(folder) -> tuple[dict, dict]:
    """Average and raw weights of a run's last checkpoint."""
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return checkpoint["state_dict"], checkpoint["current_model_state"]


def assert_equal_states(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@torch.no_grad()
@pytest.mark.parametrize("sampler", ["AncestralSampler", "DDIMSampler"])
def test_a_model_with_labels_is_the_same_in_diffusers_and_back(sampler, command, tmp_path):
    """One row more than classes, for none; the card's loop draws every class. A recipe says what the row stands for."""
    labels = ["-c", f"{CONFIGS}/conditional/labels.yaml", f"--model.sampler={sampler}"]
    command("fit", *TINY, *NETWORK, *labels, *STEPS)
    run = tmp_path / "runs/trained"
    dispatch(["export", str(run), "-o", "exported"])
    dispatch(["import", "exported", "-o", "runs/back", "-c", str(run / "config.yaml")])
    assert_equal_states(states(tmp_path / "runs/back")[0], states(run)[0])
    ours = model_of(tmp_path / "runs/back")
    assert (ours.num_classes, ours.knows_no_label) == (10, True)
    unet = UNet2DModel.from_pretrained("exported/unet")
    assert unet.config.num_class_embeds == 11
    x, t, label = torch.randn(11, 1, 8, 8), torch.arange(11) % 7, torch.arange(11)
    expected = unet(x, t, class_labels=label).sample
    torch.testing.assert_close(ours.network(x, t, torch.where(label == 10, -1, label)), expected, atol=1e-5, rtol=0)
    card = (tmp_path / "exported/README.md").read_text()
    code = card.split("```python")[1].split("```")[0].replace("THIS_FOLDER", "exported")
    names: dict = {}
    exec(code, names)
    assert names["images"].shape == (16, 1, 8, 8) and names["images"].isfinite().all()
    assert "10 is none" in code


@pytest.mark.parametrize(("form", "weights"), [("diffusers", "ema"), ("safetensors", "raw")])
@pytest.mark.parametrize(
    "options",
    [
        ["--model.sampler=DDIMSampler", "--model.sampler.steps=3", "--model.sampler.eta=0.5"],
        [*WARMUP, "--model.reverse.parameterization=Velocity", "--model.reverse.variance=PosteriorVariance"],
        [
            "-c",
            f"{CONFIGS}/objective/hybrid.yaml",
            "--model.reverse.network.num_heads=2",
            "--model.reverse.clip_x_0=false",
        ],
    ],
    ids=["ddim", "warmup velocity", "learned range"],
)
def test_import_of_export_has_the_same_bits_and_samples(form, weights, options, command, tmp_path):
    """A trained run; its schedule, also one that diffusers has no name for, gives the same tables."""
    command("fit", *TINY, *NETWORK, *options, *STEPS)
    run = tmp_path / "runs/trained"
    dispatch(["export", str(run), "--format", form, "-o", "exported", "--weights", weights])
    dispatch(["import", "exported", "-o", "runs/back"])  # the export says which weights it holds
    expected, found = states(run)[weights == "raw"], states(tmp_path / "runs/back")
    assert_equal_states(found[0], expected)
    assert_equal_states(found[1], expected)
    n_averaged = torch.load("runs/back/checkpoints/last.ckpt", weights_only=True)["averaging_state"]["n_averaged"]
    assert int(n_averaged) == (weights == "ema")
    if weights == "ema":
        for folder in ("runs/trained", "runs/back"):
            command("predict", "-c", f"{folder}/config.yaml", "--ckpt_path", "last", *PREDICTION)
        ours, again = (np.load(tmp_path / f"runs/{name}/predict/samples.npz") for name in ("trained", "back"))
        assert np.array_equal(ours["arr_0"], again["arr_0"])


PREDICTION = [
    *("--prediction.num_samples=8", "--prediction.batch_size=4"),
    *("--trainer.logger=false", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
]


def test_without_our_config_the_exported_folder_is_the_same_model(command, tmp_path):
    """What is in diffusers' files alone makes the same samples, on a recipe given by name."""
    command("fit", *TINY, *NETWORK, *WARMUP, *STEPS)
    run = tmp_path / "runs/trained"
    dispatch(["export", str(run), "-o", "exported"])
    (tmp_path / "exported/config.yaml").unlink()
    theirs = imported("exported", tmp_path / "back", "-c", "configs/digits.yaml")
    assert_equal_states({f"reverse.{k}": w for k, w in theirs.state_dict().items()}, states(run)[0])
    trained = build_reverse(yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"])
    trained.load_state_dict(theirs.state_dict(), assign=True)
    assert type(theirs.process.schedule).__name__ == "TabulatedSchedule"
    x, y = (AncestralSampler()(one, (4, 1, 8, 8), torch.Generator().manual_seed(1)) for one in (theirs, trained))
    assert torch.equal(x, y)


@torch.no_grad()
@pytest.mark.parametrize(("variance", "steps"), [("fixed_large", 1000), ("fixed_small", 50)])
def test_pipelines_of_an_exported_folder_draw_our_images(variance, steps, folder_of, tmp_path):
    """The same noise gives the same images to 1e-4, over all 1,000 steps and over 50, by diffusers' stock tables."""
    _, folder = folder_of(SMALL, DDPMScheduler(variance_type=variance))
    ours = imported(folder, tmp_path / "run")
    dispatch(["export", str(tmp_path / "run"), "-o", str(tmp_path / "exported")])
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "exported")
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(2, torch.Generator().manual_seed(0), steps, output_type="pt").images
    drawn = AncestralSampler(steps)(ours, (2, 1, 8, 8), torch.Generator().manual_seed(0))
    assert 0.1 < theirs.std() < 1
    assert (theirs - (drawn / 2 + 0.5).clamp(0, 1)).abs().max() <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_pipelines_draw_our_images(eta, folder_of, command, tmp_path):
    """With diffusers' default spacing written as our list of steps, and eps from the clipped x_0, as ours has it."""
    _, folder = folder_of(SMALL, DDIMScheduler())
    ours = imported(folder, tmp_path / "run")
    dispatch(["export", str(tmp_path / "run"), "-o", str(tmp_path / "exported")])
    pipeline = DDIMPipeline.from_pretrained(tmp_path / "exported")
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        4, torch.Generator().manual_seed(0), eta, 50, use_clipped_model_output=True, output_type="pt"
    ).images
    drawn = DDIMSampler(list(range(1, 1000, 20)), eta)(ours, (4, 1, 8, 8), torch.Generator().manual_seed(0))
    assert (theirs - (drawn / 2 + 0.5).clamp(0, 1)).abs().max() <= 1e-4


def test_imported_model_is_scored_and_trained_on(small, command, tmp_path):
    """`test` enters scores of the average at step 0; `fit` goes on in the folder, from these weights."""
    dispatch(["import", str(small), "-o", "runs/theirs"])
    before = states(tmp_path / "runs/theirs")[0]
    options = [
        *PREDICTION[2:],
        "--scores.num_samples=40",
        "--bits_per_dim.splits=[test]",
        "--bits_per_dim.terms=2",
        "--grids.every_n_steps=0",
    ]
    run = ["-c", "runs/theirs/config.yaml", "--ckpt_path", "last", *options]
    command("test", *run)
    summary = json.loads((tmp_path / "runs/theirs/summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("finished", 0)
    assert summary["scores"]["fid"]["protocol"]["weights"] == "ema"
    command(
        "fit", *run, "--trainer.max_steps=2", "--scores.num_samples=0", "--bits_per_dim.at_end=false", "--ema.decay=0.5"
    )
    assert json.loads((tmp_path / "runs/theirs/summary.json").read_text())["step"] == 2
    average, raw = states(tmp_path / "runs/theirs")
    name = "reverse.network.head.weight"
    moved = raw[name] - before[name]
    assert 0 < moved.abs().max() < 1e-3  # two steps of a learning rate that warms up
    assert 0 < (average[name] - before[name]).abs().max() < moved.abs().max()


def test_raw_weights_are_scored_as_raw(small, command, tmp_path):
    """And the first step of training begins their average."""
    dispatch(["import", str(small), "-o", "runs/theirs", "--weights", "raw"])
    options = [*PREDICTION[2:], "--scores.num_samples=40", "--bits_per_dim.splits=[]"]
    command("test", "-c", "runs/theirs/config.yaml", "--ckpt_path", "best", *options)
    summary = json.loads((tmp_path / "runs/theirs/summary.json").read_text())
    assert summary["scores"]["fid"]["protocol"]["weights"] == "raw"
    assert json.loads((tmp_path / "runs/theirs/origin.json").read_text())["weights"] == "raw"


def test_settings_of_unet2dmodel_and_schedulers_are_all_known():
    """Our tables of diffusers' settings have its names and its defaults, none missing."""

    def defaults(cls) -> dict:
        parameters = inspect.signature(cls.__init__).parameters
        return {
            name: list(one.default) if isinstance(one.default, tuple) else one.default
            for name, one in parameters.items()
            if name != "self"
        }

    assert defaults(UNet2DModel) == unet_config.UNET
    assert defaults(DDPMScheduler) == scheduler.SCHEDULERS["DDPMScheduler"]
    assert defaults(DDIMScheduler) == scheduler.SCHEDULERS["DDIMScheduler"]
    assert defaults(DPMSolverMultistepScheduler) == scheduler.SCHEDULERS["DPMSolverMultistepScheduler"]


def test_what_is_passed_on_names_no_folder_of_this_machine(command, tmp_path):
    """Neither of the run, nor of its data, callbacks or loggers, nor of the source that it was imported from."""
    folder = tmp_path / "private/pictures"
    folder.mkdir(parents=True)
    for i in range(40):
        Image.new("L", (8, 8), i).save(folder / f"{i}.png")
    data = [f"--data.root={folder}", "--data.size=8", "--data.channels=1", "--data.batch_size=8", "--data.num_test=4"]
    logs = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}/private/logs"]
    levels = ["--model.reverse.decoder.num_levels=256"]
    command(
        "fit", *TINY, "--data=ImageFolder", *data, *NETWORK, *STEPS, *levels, *logs, f"--run.dir={tmp_path}/private"
    )
    for form in ("diffusers", "safetensors"):
        dispatch(["export", f"{tmp_path}/private/trained", "-o", form, "--format", form])
        dispatch(["import", f"{tmp_path}/{form}", "-o", f"{form}-run"])
        dispatch(["export", f"{form}-run", "-o", f"{form}-again"])
        for made in (form, f"{form}-again"):
            for file in ("README.md", "config.yaml"):
                assert str(tmp_path) not in (tmp_path / made / file).read_text()
                assert "private" not in (tmp_path / made / file).read_text()
    assert "trained on ImageFolder (pictures)" in (tmp_path / "diffusers/README.md").read_text()


def test_the_card_says_data_recipe_and_scores_with_their_protocols(command, tmp_path):
    """Also that weights are raw, and the steps of a pipeline."""
    command(
        "fit", *TINY, *NETWORK, *STEPS, "--scores.num_samples=20", "--scores.every_n_steps=0", "--grids.every_n_steps=3"
    )
    dispatch(["export", "runs/trained", "-o", "exported", "--weights", "raw"])
    card = (tmp_path / "exported/README.md").read_text()
    fid = json.loads((tmp_path / "runs/trained/summary.json").read_text())["scores"]["fid"]
    for said in (
        "trained on Digits",
        "raw weights, not averaged\nafter 3 steps",
        "num_inference_steps=7",
        f"| fid | {fid['value']:.4g} | reference: Digits:train, 1500 images |",
        fid["protocol"]["features_sha256"],
        "| model.objective | Simple |",
        "| data.batch_size | 32 |",
        "![samples](samples.png)",
    ):
        assert said in card
    assert (tmp_path / "exported/samples.png").stat().st_size > 1000


def test_safetensors_takes_models_that_diffusers_cannot(command, tmp_path):
    """The heartbeat's network, bits and all; the file holds our names."""
    options = [
        "--trainer.max_steps=1",
        "--trainer.logger=false",
        "--trainer.accelerator=cpu",
        "--data.eval_batch_size=4096",
    ]
    few = ["--model.reverse.process.schedule.num_steps=9", "--bits_per_dim.splits=[]", "--grids.every_n_steps=0"]
    command("fit", "-c", "configs/heartbeat.yaml", *options, *few, "--run.name=bits", "--trainer.val_check_interval=1")
    dispatch(["export", "runs/bits", "--format", "safetensors", "-o", "bits"])
    names = load_file(tmp_path / "bits/model.safetensors")
    assert all(name.startswith("network.") for name in names)
    dispatch(["import", "bits", "-o", "runs/back"])
    assert_equal_states(states(tmp_path / "runs/back")[0], states(tmp_path / "runs/bits")[0])
    command("test", "-c", "runs/back/config.yaml", "--ckpt_path", "last", *options[1:], "--bits_per_dim.splits=[]")
