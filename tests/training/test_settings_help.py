"""`fit --help` and `--KEY.help`: every setting with its type, default and meaning."""

import re

import pytest
import torch

import lit_diffusion.nn  # noqa: F401  whose classes are found
from lit_diffusion.baselines import HierarchicalVAE
from lit_diffusion.config.class_choices import classes_of, given_to, hints_of, parameters_of
from lit_diffusion.config.keys import PACKAGE, is_within
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import GANModule
from lit_diffusion.training.run_options import CALLBACKS
from lit_diffusion.training.settings_help import PLAIN, ROOTS, help_text, tree, type_text, wanted
from tests.conftest import TINY


def our_classes(hints=(*ROOTS.values(), *CALLBACKS.values())):
    """(class, how many arguments it is given) of everything that a configuration can name of this package."""
    found, left = {}, [(cls, given_to(hint)) for hint in hints for cls in classes_of(hint)]
    while left:
        cls, given = left.pop()
        if cls in found or not is_within(cls.__module__, [PACKAGE]):
            continue
        found[cls] = given
        left += [(below, given_to(hint)) for hint in hints_of(cls).values() for below in classes_of(hint)]
    return found


def test_the_docstring_of_every_class_names_each_of_its_settings(monkeypatch):
    """It is the meaning that the help shows, in whole sentences."""
    monkeypatch.setitem(torch.nn.Module.__init__.__annotations__, "self", torch.nn.Module)  # as some libraries do
    found = our_classes()
    assert len(found) > 60
    for cls, given in found.items():
        text = " ".join(base.__doc__ or "" for base in cls.__mro__ if is_within(base.__module__, [PACKAGE]))
        missing = [name for name in parameters_of(cls, given) if not re.search(rf"\b{name}\b", text)]
        assert not missing, cls


@pytest.mark.parametrize("owner, setting", [(HierarchicalVAE, "encoder"), (GANModule, "generator")])
def test_networks_between_shapes_are_those_that_are_built_from_two(owner, setting):
    """Not every torch module of the package."""
    names = {cls.__name__ for cls in classes_of(hints_of(owner)[setting])}
    assert names == {"ConvDecoder", "ConvDiscriminator", "ConvEncoder", "ConvGenerator", "DenseNetwork"}


def test_the_tree_has_every_setting_that_the_parser_knows(parse):
    """And those of classes, each with a type and a default."""
    known = {key.removesuffix(".class_path") for key in parse(*TINY).known_keys() if "init_args" not in key}
    shown = {part for line in tree() for part in line.path}
    assert known - shown <= {"config", "print_config", "weights_only", "verbose", "model", "data", "prediction"}
    assert {"model.reverse.process.schedule.num_steps", "model.optimizer", "data.batch_size", *PLAIN} <= shown


@pytest.mark.parametrize(
    ("key", "name", "said", "unsaid"),
    [
        ("", None, "model.reverse.network.width: whole number; default 128", "Namespace"),
        ("", None, "trainer.val_check_interval: whole number or number", "Namespace"),
        ("model", None, "Trains `reverse` on `objective`", "trainer."),
        ("data", "CIFAR10", "data.root: text; default data", "ImageFolder"),
        ("model.reverse.network", "UNet", "attention_levels: Levels with self-attention", "ClassicUNet"),
        ("grids.sampler", None, "grids.sampler.eta: number; default 0.0", "model."),
        ("model.optimizer", "Adam", "model.optimizer.weight_decay: number", "optimizer.params"),
    ],
)
def test_a_part_of_the_tree_is_shown(key, name, said, unsaid):
    text = help_text("fit", key, name)
    assert said in text
    assert unsaid not in text


def test_help_of_what_does_not_exist_suggests_what_does():
    with pytest.raises(ConfigError, match="command line: model.revers: no such setting; use model.reverse"):
        help_text("fit", "model.revers")
    with pytest.raises(ConfigError, match="command line: data: no class CIFAR; use CIFAR10"):
        help_text("fit", "data", "CIFAR")


def test_help_needs_no_file_and_is_printed(command, capsys):
    command("fit", "--data.help", "CIFAR10")
    assert "data.root: text" in capsys.readouterr().out
    command("validate", "--help")
    assert capsys.readouterr().out.startswith("usage: lightning validate -c CONFIG")
    assert wanted(["--model.help"]) == ("model", None) and wanted(["--data.help=Digits"]) == ("data", "Digits")
    assert wanted(["fit", "-c", "x.yaml"]) is None


def test_types_are_words():
    assert type_text(list[int] | None) == "list of whole number or null"
