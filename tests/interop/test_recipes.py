"""The configuration of an imported run: files laid over each other as by the command line, and recipes by name."""

import contextlib
import io

import pytest
import yaml

from lit_diffusion.config.keys import flatten
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import recipe

# of other classes than the base, of parts of them, with references; of optimizers and of data sets
OVERLAYS = [
    ["configs/cifar10.yaml", "configs/schedule/cosine.yaml", "configs/objective/hybrid.yaml"],
    ["configs/cifar10.yaml", "configs/schedule/warmup10.yaml"],
    ["configs/cifar10.yaml", "configs/iddpm/cifar10.yaml"],
    ["configs/digits.yaml", "configs/network/classic_unet.yaml", "configs/sampler/ddim50.yaml"],
    ["configs/digits.yaml", "configs/dpm2015/image_network.yaml"],
    ["configs/digits.yaml", {"model": {"init_args": {"optimizer": "torch.optim.AdamW"}}}],
    ["configs/cifar10.yaml", {"model": {"init_args": {"optimizer": {"class_path": "torch.optim.SGD"}}}}],
    ["configs/cifar10.yaml", {"data": {"class_path": "ImageFolder", "init_args": {"root": "data", "size": 32}}}],
    ["configs/cifar10.yaml", {"data": "Digits"}],
]


@pytest.mark.parametrize("files", OVERLAYS, ids=lambda files: "+".join(str(one) for one in files[1:]))
def test_files_are_laid_over_each_other_as_on_the_command_line(files, command, tmp_path):
    """What the command line prints for the files, it prints for the one file that they are made into."""
    names = []
    for number, one in enumerate(files):
        if isinstance(one, dict):
            (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(one))
        names.append(f"{number}.yaml" if isinstance(one, dict) else one)
    (tmp_path / "made.yaml").write_text(yaml.safe_dump(recipe.read(names)))

    def printed(*given: str) -> dict:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
            command("fit", *[part for name in given for part in ("-c", name)], "--print_config")
        return flatten(yaml.safe_load(out.getvalue()))

    assert printed("made.yaml") == printed(*names)


@pytest.mark.parametrize(
    ("name", "images", "expected"),
    [
        ("google/ddpm-cifar10-32", (3, 32), "cifar10"),
        ("google/ddpm-ema-church-256", (3, 256), "lsun_church"),
        ("downloads/ddpm-celeba-hq-256/unet", (3, 256), "celebahq"),
        ("ema_diffusion_cifar10_model/model-790000.ckpt", (3, None), "cifar10"),
        ("diffusion_lsun_cat_model/model-1761000.ckpt", (3, 256), "lsun_cat"),
        ("cat/somebody/ddpm-cifar-10", (3, 32), "cifar10"),
        ("cat/mine", (1, 28), "mnist"),
        ("category/model", (3, 32), "cifar10"),
    ],
)
def test_recipe_is_that_of_the_data_set_in_the_name_or_of_the_images(name, images, expected):
    """The nearest part of the path counts."""
    assert recipe.guess(name, *images) == f"configs/{expected}.yaml"


def test_data_are_those_of_the_models_images_where_they_can_be():
    """Size and channels of a folder's images; a data set of its own size must have that of the model."""
    folder = {"class_path": "ImageFolder", "init_args": {"root": "data", "size": 256}}
    grey = recipe.set_images(folder, 1, 64, "mine.yaml")["init_args"]
    assert grey == {"root": "data", "size": 64, "channels": 1}
    assert recipe.set_images(folder, 3, None, "mine.yaml") == folder
    assert recipe.set_images("ImageFolder", 1, 64, "mine.yaml") == "ImageFolder"
    with pytest.raises(ConfigError, match="CIFAR10 has 32x32 images of 3 channels, but the model 64x64 of 3"):
        recipe.set_images("CIFAR10", 3, 64, "mine.yaml")


def test_reference_that_leads_nowhere(command, tmp_path):
    (tmp_path / "mine.yaml").write_text("seed_everything: ${nothing}\n")
    with pytest.raises(ConfigError, match="mine.yaml: could not resolve"):
        recipe.read(["mine.yaml"])


def test_references_read_no_environment(command, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    (tmp_path / "mine.yaml").write_text("seed_everything: ${oc.env:SECRET}\n")
    with pytest.raises(ConfigError, match="mine.yaml: "):
        recipe.read(["mine.yaml"])
