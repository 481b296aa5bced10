"""What cannot be imported or exported is refused in one line that names it, and nothing is left behind."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch
import yaml
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from lit_diffusion.cli.entry import dispatch
from lit_diffusion.diffusion import AncestralSampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import recipe
from lit_diffusion.interop.construct import build_reverse
from lit_diffusion.interop.diffusers.writing import Export
from tests.interop.conftest import unet_config
from tests.interop.originals import Weights, improved, released

UNET, WEIGHTS = "unet/config.json", "unet/diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"


class Code:
    """What runs a command where it is unpickled without care."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The message of an import or export that is refused and has written nothing."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ConfigError) as error:
            dispatch([str(argument) for argument in arguments])
        assert sorted(tmp_path.rglob("*")) == before
        assert "\n" not in str(error.value)
        return str(error.value)

    return run


def changed(file, **settings) -> None:
    """Other settings in a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_with_code_is_not_run(legacy, small, refused):
    """In today's files and in those before PyTorch 1.6."""
    os.remove(small / WEIGHTS)
    file = small / "unet/diffusion_pytorch_model.bin"
    torch.save({"conv_in.weight": torch.zeros(1), "x": Code()}, file, _use_new_zipfile_serialization=not legacy)
    assert "holds code or objects besides tensors and is not loaded" in refused("import", small, "-o", "run")
    assert not os.path.exists("ran")


def test_half_precision_alone_is_named(small, refused):
    """Its file can be imported by its name."""
    file = small / "unet/diffusion_pytorch_model.fp16.safetensors"
    (small / WEIGHTS).rename(file)
    assert f"import one of its files, such as {file}" in refused("import", small, "-o", "run")


def test_improved_diffusion_needs_a_recipe(tmp_path, refused):
    """T, schedule and the number of heads are nowhere in a state dict."""
    weights = Weights()
    options = {"width": 32, "factors": (1,), "blocks": 1, "attends": (), "outputs": 6}
    improved(weights, torch.zeros(1, 3, 8, 8), torch.zeros(1), **options, heads=1, scale_shift=True, time_scale=1)
    torch.save(dict(weights), tmp_path / "cifar10_uncond.pt")
    message = refused("import", "cifar10_uncond.pt", "-o", "run")
    assert "do not contain T, schedule, number of heads and time_scale; add -c" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>", "is damaged or not a file of weights"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ],
)
@pytest.mark.parametrize("name", ["model.bin", "model.safetensors"])
def test_what_is_not_a_file_of_weights(content, said, name, tmp_path, refused):
    (tmp_path / name).write_bytes(content)
    assert said in refused("import", name, "-o", "run")


@pytest.mark.parametrize("file", ["origin.json", "summary.json"])
@pytest.mark.parametrize("content", ["[1]", "{", "3"])
def test_damaged_files_of_a_run(file, content, trained, refused):
    (trained / file).write_text(content)
    assert f"{trained / file} is" in refused("export", trained, "-o", "out")


def test_card_of_a_summary_with_odd_parts(trained, tmp_path):
    odd = {"schema": 1, "status": "finished", "scores": {"fid": 3, "kid": {"value": "x"}}, "versions": [1], "git": 7}
    (trained / "summary.json").write_text(json.dumps(odd))
    dispatch(["export", str(trained), "-o", str(tmp_path / "out")])
    assert "| kid | diverged |" in (tmp_path / "out/README.md").read_text()


def test_names_that_are_too_long(small, refused):
    assert "cannot create a folder there" in refused("import", small, "-o", "x" * 300)
    assert "not a valid path (File name too long)" in refused("import", "x" * 300, "-o", "run")


def test_plain_pickle_with_code_is_not_run(tmp_path, refused):
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Code()))
    assert "model.pt" in refused("import", "model.pt", "-o", "run")
    assert not os.path.exists("ran")


def test_folder_without_config(small, refused):
    os.remove(small / UNET)
    assert f"{small}: config.json, which describes the network, is missing" in refused("import", small, "-o", "run")


def test_file_without_config_next_to_it(small, refused):
    os.remove(small / UNET)
    assert "config.json, which describes the network, is missing next to it" in refused(
        "import", small / WEIGHTS, "-o", "run"
    )


def test_folder_without_weights(small, refused):
    os.remove(small / WEIGHTS)
    message = refused("import", small, "-o", "run")
    assert "diffusion_pytorch_model.safetensors or .bin is missing; add one" in message


@pytest.mark.parametrize(
    ("file", "name"),
    [(UNET, "UNet2DConditionModel"), (SCHEDULER, "PNDMScheduler"), ("model_index.json", "LDMPipeline")],
)
def test_config_of_another_class_is_named(file, name, small, refused):
    changed(small / file, _class_name=name)
    message = refused("import", small, "-o", "run")
    assert message.startswith(f"{small / file}: expected ") and f", got {name}" in message


@pytest.mark.parametrize("content", ["", "{", "[]", '"UNet2DModel"', "\x00\x01", "[" * 100_000])
def test_config_that_is_none(content, small, refused):
    (small / UNET).write_text(content)
    assert str(small / UNET) in refused("import", small, "-o", "run")


@pytest.mark.parametrize("kept", [0, 4, 100, 20_000, -1])
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_truncated_weights(kept, form, small, refused):
    file = small / WEIGHTS
    if form == "bin":
        torch.save(load_file(file), small / "unet/diffusion_pytorch_model.bin")
        file.unlink()
        file = small / "unet/diffusion_pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:kept])
    assert f"{file} is damaged" in refused("import", small, "-o", "run")


def test_flipped_bit_in_an_archive(small, refused):
    """torch does not look at the checksums in its archives."""
    file = small / "unet/diffusion_pytorch_model.bin"
    torch.save(load_file(small / WEIGHTS), file)
    (small / WEIGHTS).unlink()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "is damaged" in refused("import", small, "-o", "run")


def test_archives_that_unpack_to_more_than_they_hold(small, refused):
    """Parts of archives of torch.save are never compressed; tensors are never larger than their storage."""
    file = small / "unet/diffusion_pytorch_model.bin"
    torch.save({"conv_in.weight": torch.zeros(1).expand(10**10)}, file)
    (small / WEIGHTS).unlink()
    assert "conv_in.weight: expected plain floating-point weights, got torch.float32" in refused(
        "import", small, "-o", "run"
    )
    with zipfile.ZipFile(file) as parts:
        contents = {name: parts.read(name) for name in parts.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, content in contents.items():
            parts.writestr(name, content)
    assert "its parts are compressed" in refused("import", small, "-o", "run")


@pytest.mark.parametrize("weight", [torch.zeros(()), torch.zeros(3), torch.zeros(0, 3, 3, 3)], ids=["0", "1", "empty"])
@pytest.mark.parametrize("name", ["conv_in.weight", "input_blocks.0.0.weight"])
def test_first_weight_of_no_unet(name, weight, tmp_path, refused):
    others = ["conv_out.weight", "down.0.block.0.conv1.weight"] if name[0] == "c" else ["out.2.weight"]
    torch.save({name: weight, **{other: torch.zeros(3, 32, 3, 3) for other in others}}, tmp_path / "cifar10.pt")
    assert f"{name}: expected 4 dimensions, none empty, got shape" in refused("import", "cifar10.pt", "-o", "run")


@pytest.mark.parametrize("content", [{1: torch.zeros(2)}, [torch.zeros(2)], torch.zeros(2), {"a": 1}, {}, 3])
def test_files_of_torch_that_hold_no_names_and_weights(content, tmp_path, refused):
    torch.save(content, tmp_path / "model.pt")
    assert "model.pt holds " in refused("import", "model.pt", "-o", "run")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variance": "UNet"}, "could not build UNet from these settings"),
        ({"variance": "Epsilon"}, "expected a Variance of lit_diffusion, got Epsilon"),
        ({"variance": {"class_path": "mine.Variance"}}, "mine.Variance"),
        ({"clipx": True}, "GaussianReverse has no argument clipx"),
        ({"process": [1]}, "could not build GaussianReverse"),
        ({"decoder": {"class_path": "DiscretizedGaussian", "init_args": [1]}}, "DiscretizedGaussian: init_args"),
        ({"network": {"class_path": "mine.UNet"}}, None),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_recipes_with_parts_that_are_none(change, said, small, refused, tmp_path):
    """The network is the source's, whatever the recipe's; of all else the source does not say, ours alone are known."""
    shutil.rmtree(small / "scheduler")  # which would say the variance
    overlay = {"model": {"init_args": {"reverse": {"init_args": change}}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
    arguments = ["import", small, "-o", "run", "-c", "configs/digits.yaml", "-c", "mine.yaml"]
    if said is None:
        dispatch([str(one) for one in arguments])
    else:
        assert re.search(said, refused(*arguments))


def test_recipe_whose_schedule_is_learned(tmp_path, refused):
    weights = Weights()
    options = {"width": 32, "factors": (1,), "blocks": 1, "attends": (), "outputs": 6}
    released(weights, torch.zeros(1, 3, 8, 8), torch.zeros(1), **options)
    torch.save(dict(weights), tmp_path / "cifar10.pt")
    schedule = {
        "model": {"init_args": {"reverse": {"init_args": {"process": {"init_args": {"schedule": "LearnedSchedule"}}}}}}
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(schedule))
    message = refused("import", "cifar10.pt", "-o", "run", "-c", "configs/cifar10.yaml", "-c", "mine.yaml")
    assert "has no weights of LearnedSchedule" in message


def test_names_cannot_write_into_the_configuration(folder_of, tmp_path):
    """A folder's name with a line of YAML in it."""
    _, folder = folder_of(SMALL_MODEL, name="x\ntrainer: {max_steps: 1}\n#")
    dispatch(["import", str(folder), "-o", str(tmp_path / "run"), "-c", "configs/digits.yaml"])
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["trainer"]["max_steps"] == 2000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("conv_in.weight"), "missing: conv_in.weight;"),
        (lambda w: w.update({"class_embedding.weight": torch.zeros(2)}), "unknown: class_embedding.weight;"),
        (
            lambda w: w.update({"conv_in.weight": torch.zeros(32, 1, 5, 5)}),
            "of another shape: conv_in.weight (32, 1, 5, 5) instead of (32, 1, 3, 3);",
        ),
        (lambda w: w["conv_in.bias"].fill_(float("nan")), "conv_in.bias has values that are not finite"),
        (
            lambda w: w.update({"conv_in.bias": torch.zeros(32, dtype=torch.int64)}),
            "conv_in.bias: expected plain floating-point weights, got torch.int64",
        ),
    ],
    ids=["missing", "unknown", "shape", "nan", "integers"],
)
def test_weights_that_do_not_fit_are_listed_by_name(change, said, small, refused):
    weights = load_file(small / WEIGHTS)
    change(weights)
    save_file(weights, small / WEIGHTS)
    assert said in refused("import", small, "-o", "run")


def test_many_missing_names_are_counted(small, refused):
    names = ["time_embedding.linear_1.weight", "a", "b", "c"]
    save_file({name: torch.zeros(1) for name in names}, small / WEIGHTS)
    message = refused("import", small, "-o", "run")
    assert message.count(".weight") + message.count(".bias") < 20
    assert " more; " in message


UNKNOWN = [
    (UNET, {"center_input_sample": True}),
    (UNET, {"time_embedding_type": "fourier"}),
    (UNET, {"time_embedding_dim": 100}),
    (UNET, {"mid_block_type": None}),
    (UNET, {"mid_block_scale_factor": 1.4}),
    (UNET, {"downsample_type": "resnet"}),
    (UNET, {"act_fn": "gelu"}),
    (UNET, {"resnet_time_scale_shift": "scale_shift"}),  # its middle has no norm
    (UNET, {"add_attention": False}),
    (UNET, {"class_embed_type": "timestep"}),
    (UNET, {"attn_norm_num_groups": 16}),
    (UNET, {"down_block_types": ["DownBlock2D", "SkipDownBlock2D"]}),
    (UNET, {"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]}),
    (UNET, {"block_out_channels": [32, 48]}),
    (UNET, {"block_out_channels": "32"}),
    (UNET, {"layers_per_block": 10**9}),
    (UNET, {"norm_num_groups": None}),
    (UNET, {"sample_size": [8, 16]}),
    (UNET, {"a_new_option": 1}),
    (SCHEDULER, {"beta_schedule": "sigmoid"}),
    (SCHEDULER, {"trained_betas": [0.1]}),
    (SCHEDULER, {"thresholding": True}),
    (SCHEDULER, {"clip_sample_range": 2.0}),
    (SCHEDULER, {"variance_type": "learned"}),
    (SCHEDULER, {"variance_type": "fixed_large_log"}),
    (SCHEDULER, {"prediction_type": "flow"}),
    (SCHEDULER, {"rescale_betas_zero_snr": True}),
    (SCHEDULER, {"steps_offset": 1}),
    (SCHEDULER, {"num_train_timesteps": "many"}),
    (SCHEDULER, {"beta_start": "low"}),
    (SCHEDULER, {"beta_start": 10**400}),
    (SCHEDULER, {"num_train_timesteps": 2**63}),
    (SCHEDULER, {"num_train_timesteps": True}),
    (SCHEDULER, {"predict_epsilon": False}),
    (UNET, {"norm_eps": "small"}),
    (UNET, {"sample_size": -8}),
]


@pytest.mark.parametrize(("file", "settings"), UNKNOWN, ids=lambda x: x if isinstance(x, str) else "-".join(x))
def test_settings_that_ours_cannot_express_are_refused_by_name(file, settings, small, refused):
    changed(small / file, **settings)
    message = refused("import", small, "-o", "run")
    assert next(iter(settings)).replace("resnet_time_scale_shift", "attn_norm_num_groups") in message


def test_learned_range_needs_twice_the_outputs(small, refused):
    changed(small / SCHEDULER, variance_type="learned_range")
    message = refused("import", small, "-o", "run")
    assert "expected 2 output channels for LearnedRange and images of 1 channels, got 1" in message


def test_schedule_on_which_eps_says_nothing(folder_of, refused):
    """Betas up to 1, with a network that predicts eps."""
    _, folder = folder_of(SMALL_MODEL, DDPMScheduler(num_train_timesteps=2, trained_betas=[0.5, 1.0]))
    assert "Epsilon does not determine x_0 at step 2 of TabulatedSchedule" in refused("import", folder, "-o", "run")


SMALL_MODEL = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [32],
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
}


def test_recipe_for_other_images(small, refused):
    message = refused("import", small, "-o", "run", "-c", "configs/cifar10.yaml")
    assert "configs/cifar10.yaml: CIFAR10 has 32x32 images of 3 channels, but the model 8x8 of 1" in message


def test_an_overlay_is_refused_as_a_recipe(small, refused):
    message = refused("import", small, "-o", "run", "-c", "configs/schedule/cosine.yaml")
    assert "add -c configs/cifar10.yaml or another complete file before overlays" in message


def test_images_of_a_size_that_no_recipe_has(small, refused):
    changed(small / UNET, sample_size=24)
    message = refused("import", small, "-o", "run")
    assert "no recipe for 24x24 images of 1 channels; add -c" in message


def test_what_is_not_there(refused, tmp_path):
    assert "no such file or folder" in refused("import", "./nothing.safetensors", "-o", "run")
    (tmp_path / "notes.txt").write_text("hello")
    assert "expected a file of weights; use one of .safetensors" in refused("import", "notes.txt", "-o", "run")
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "other.pt")
    assert (
        "other.pt: expected weights of diffusers' UNet2DModel, the DDPM release or improved-diffusion, got a.weight, "
        "...;" in refused("import", "other.pt", "-o", "run")
    )


def test_folder_that_is_there_already(small, refused, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/kept").touch()
    assert "-o: run already exists" in refused("import", small, "-o", "run")


@pytest.mark.parametrize(("signum", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_import_that_a_signal_ends_leaves_nothing(signum, status, small, tmp_path):
    """While torch writes the checkpoint, which at its end complains of what then is missing."""
    ending = f"""
import io, os, pathlib, signal, sys
from lit_diffusion.cli.entry import main
class Ending(io.FileIO):
    def write(self, data):
        if len(data) > 10_000:
            os.kill(os.getpid(), signal.{signum})
        return super().write(data)
opening = pathlib.Path.open
pathlib.Path.open = lambda path, mode="r", *args, **options: (
    Ending(path, mode) if path.name == "last.ckpt" and mode == "wb" else opening(path, mode, *args, **options)
)
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
sys.argv = ["lit-diffusion", "import", {str(small)!r}, "-o", "run"]
main()
"""
    (tmp_path / "here").mkdir()
    ended = subprocess.run([sys.executable, "-c", ending], cwd=tmp_path / "here", capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("way", ["import", "diffusers", "safetensors"])
def test_weights_that_the_disk_does_not_take_are_said_in_one_line(way, folder_of, tmp_path):
    """Here as no file may be larger than 1,000,000 bytes; of a full disk the way is the same."""
    wide = unet_config([128], [], 8, in_channels=1, out_channels=1, layers_per_block=1)
    source = folder_of(wide, DDPMScheduler(num_train_timesteps=20))[1]
    arguments = ["import", str(source), "-o", "made"]
    if way != "import":
        dispatch(["import", str(source), "-o", str(tmp_path / "run")])
        arguments = ["export", str(tmp_path / "run"), "--format", way, "-o", "made", "--force"]
    limited = f"""
import resource, sys
from lit_diffusion.cli.entry import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
sys.argv = {["lit-diffusion", *arguments]}
main()
"""
    (tmp_path / "here").mkdir()
    ended = subprocess.run([sys.executable, "-c", limited], cwd=tmp_path / "here", capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r".*made cannot be written \(.*File too large.*\); choose another folder\n", ended.stderr)
    assert not list((tmp_path / "here").iterdir())


def test_conversions_with_other_names_are_listed(tmp_path, refused):
    weights = Weights()
    options = {"width": 32, "factors": (1, 2), "blocks": 1, "attends": (1,), "outputs": 3}
    released(weights, torch.zeros(1, 3, 8, 8), torch.zeros(1), **options)
    renamed = {name.replace("mid.attn_1", "mid.attention"): weight for name, weight in weights.items()}
    torch.save(renamed, tmp_path / "cifar10.pt")
    message = refused("import", "cifar10.pt", "-o", "run")
    assert "missing: mid.attn_1.norm.weight" in message and "unknown: mid.attention.norm.weight" in message


def test_hub_name_without_a_network_says_what_to_fetch_and_where_to_put_it(refused, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refused("import", "google/ddpm-cifar10-32", "-o", "run")
    assert message.startswith(
        "google/ddpm-cifar10-32 is not a file or folder, not in the hub's cache, and cannot be downloaded"
    )
    assert message.endswith(
        "download config.json, scheduler_config.json and diffusion_pytorch_model.safetensors of google/ddpm-cifar10-32 "
        "by hand into a folder, and import that folder"
    )


def test_hub_name_without_its_package(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "names of the hub need a package: pip install huggingface_hub" in refused("import", "google/x", "-o", "run")


@pytest.fixture
def trained(small, tmp_path):
    """A run that says that it is finished, and has a checkpoint."""
    run = tmp_path / "runs/trained"
    dispatch(["import", str(small), "-o", str(run)])
    os.remove(run / "origin.json")
    (run / "summary.json").write_text(json.dumps({"schema": 1, "status": "finished", "scores": {}}))
    return run


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        ("diverged", "the loss is nan at step 2", "diverged (the loss is nan at step 2)"),
        ("running", None, "did not finish"),
        ("failed", "SIGTERM", "failed (SIGTERM)"),
    ],
)
def test_export_of_a_run_that_has_not_finished_takes_force(status, reason, said, trained, refused, capsys):
    changed(trained / "summary.json", status=status, reason=reason)
    assert refused("export", trained, "-o", "out") == f"{trained} {said}; use --force to export it anyway"
    dispatch(["export", str(trained), "-o", "out", "--force"])
    assert f"{said}; exported anyway" in capsys.readouterr().err
    card = (trained.parent.parent / "out/README.md").read_text()
    assert f"its status is {status}" in card


def test_export_of_what_is_not_a_run(refused, trained, tmp_path):
    assert ": expected the folder of a run with a config.yaml" in refused("export", tmp_path)
    assert "has no summary.json" in (os.remove(trained / "summary.json"), refused("export", trained))[1]


CANNOT = [
    ({"parameterization": "PosteriorMean"}, "diffusers' schedulers cannot express PosteriorMean"),
    ({"variance": "LearnedDiagonal"}, "cannot express LearnedDiagonal"),
    (
        {"network": {"class_path": "UNet", "init_args": {"time_scale": 0.5}}},
        "UNet.time_scale: UNet2DModel cannot express 0.5",
    ),
    (
        {"network": {"class_path": "UNet", "init_args": {"patch_size": 2}}},
        "UNet.patch_size: UNet2DModel cannot express 2",
    ),
    ({"network": {"class_path": "UNet", "init_args": {"multipliers": [2, 2]}}}, "UNet.multipliers: UNet2DModel cannot"),
    (
        {
            "network": {
                "class_path": "UNet",
                "init_args": {"multipliers": [1, 2], "attention_levels": [0], "num_heads": 2},
            }
        },
        "UNet.num_heads: UNet2DModel cannot express heads of [16, 32] channels",
    ),
    (
        {"network": {"class_path": "ClassicUNet", "init_args": {}}},
        "UNet2DModel cannot express ClassicUNet; use --format",
    ),
    ({"network": {"class_path": "mine.UNet", "init_args": {}}}, "mine.UNet"),
]


@pytest.mark.parametrize(("change", "said"), CANNOT, ids=[said for _, said in CANNOT])
def test_runs_that_diffusers_cannot_express_are_refused_by_name(change, said):
    config = recipe.overlay(
        recipe.read(["configs/digits.yaml"]), {"model": {"init_args": {"reverse": {"init_args": change}}}}
    )
    with pytest.raises(ConfigError, match=re.escape(said)):
        model = config["model"]["init_args"]
        Export(build_reverse(model), model["reverse"]["init_args"], AncestralSampler(), 8)


@pytest.mark.parametrize("size", [0, -3])
def test_size_that_is_none(size, trained, refused):
    assert f"--size: expected a whole number from 1 to 1e+06, got {size}" in refused(
        "export", trained, "-o", "out", "--size", size
    )


def test_resumed_run_needs_its_optimizer(trained, command, tmp_path):
    """Only at step 0 are weights alone enough."""
    file = trained / "checkpoints/last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    torch.save({**checkpoint, "global_step": 7}, file)
    with pytest.raises(ConfigError, match="is damaged or not a checkpoint of lit_diffusion"):
        command("fit", "-c", str(trained / "config.yaml"), "--ckpt_path", str(file), "--trainer.logger=false")
