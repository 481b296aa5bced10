"""Dotted keys, and which settings matter to whom."""

import math

import pytest

from lit_diffusion.config import keys
from lit_diffusion.config.relevance import (
    affects_scores,
    affects_training,
    are_equal,
    check_same_experiment,
    drop_modules,
    find_differences,
    identify,
    matches,
)
from lit_diffusion.errors import ConfigError

CONFIG = {
    "model": {
        "class_path": "lit_diffusion.modules.DiffusionModule",
        "init_args": {"sampler": {"class_path": "DDIMSampler", "init_args": {"steps": 50}}, "objective": "Simple"},
    },
    "run": {"dir": "runs"},
    "empty": {"class_path": "A", "init_args": None},
}


def test_a_configuration_is_flat_by_the_keys_of_the_command_line():
    assert keys.flatten(CONFIG) == {
        "model": "DiffusionModule",
        "model.sampler": "DDIMSampler",
        "model.sampler.steps": 50,
        "model.objective": "Simple",
        "run.dir": "runs",
        "empty": "A",
    }


def test_a_class_is_found_at_its_key():
    assert keys.find_class(CONFIG, "DDIMSampler") == "model.sampler"
    assert keys.find_class(CONFIG, "DiffusionModule") == "model"
    assert keys.find_class(CONFIG, "Sampler") is None


def test_keys_have_one_spelling():
    assert keys.drop_init_args("model.init_args.sampler.init_args.steps") == "model.sampler.steps"
    assert keys.normalize_key("model.init_args.sampler.class_path") == "model.sampler"
    assert keys.option_key("--model.init_args.lr=a.b=c") == keys.option_key("--model.lr") == "model.lr"


def test_a_key_lies_within_another_by_whole_parts():
    assert keys.is_within("data", ["data"]) and keys.is_within("data.root", ["run", "data"])
    assert not keys.is_within("dataset", ["data"]) and not keys.is_within("data", ["data.root"])


def test_endings_are_as_short_as_they_are_unique():
    assert keys.shorten_keys(["a.b.steps", "c.b.steps", "a.lr", "lr"]) == {
        "a.b.steps": "a.b.steps",
        "c.b.steps": "c.b.steps",
        "a.lr": "a.lr",
        "lr": "lr",
    }
    assert keys.shorten_keys(["a.x.steps", "a.y.steps", "a.lr"]) == {
        "a.x.steps": "x.steps",
        "a.y.steps": "y.steps",
        "a.lr": "lr",
    }


def test_classes_of_this_package_alone_are_shortened():
    assert keys.shorten_class("lit_diffusion.diffusion.Simple") == "Simple"
    assert keys.shorten_class("torch.optim.Adam") == "torch.optim.Adam"
    assert drop_modules(["torch.optim.Adam", "runs/a.B", 3]) == ["Adam", "runs/a.B", 3]


@pytest.mark.parametrize(
    "option, key, count",
    [("model", "model.sampler", 1), ("model.sampler.steps", "model.sampler", 2), ("model.s", "model.sampler", 0)],
)
def test_an_option_sets_the_parts_that_it_shares_with_a_key(option, key, count):
    assert keys.count_shared_parts(option, key) == count


@pytest.mark.parametrize("key, count", [("model.sampler.steps", 3), ("model.sampler.eta", 2), ("data.root", 0)])
def test_a_file_sets_the_parts_that_it_contains(key, count):
    assert keys.count_set_parts(CONFIG, key.split(".")) == count


def test_everything_in_a_nested_value_is_walked_with_its_level():
    assert sorted(keys.walk([1, [2]]), key=str) == sorted([([1, [2]], 0), (1, 1), ([2], 1), (2, 2)], key=str)
    assert [level for _, level in keys.walk({"a": "b"})] == [0, 1, 1]


def test_what_changes_no_score_makes_no_experiment():
    first = {"run.dir": "a", "seed_everything": 0, "ckpt_path": "x", "model.lr": 1}
    assert identify(first) == identify({"run.dir": "b", "seed_everything": 1, "model.lr": 1})
    assert identify(first) != identify({**first, "model.lr": 2})
    assert identify({"data": "ImageFolder", "data.root": "a"}) != identify({"data": "ImageFolder", "data.root": "b"})
    assert identify({"data": "Digits", "data.root": "a"}) == identify({"data": "Digits", "data.root": "b"})
    assert affects_scores("model.sampler.steps") and not affects_training("model.sampler.steps")


def test_experiments_differ_in_classes_rather_than_in_their_arguments():
    """A setting that is null, false, 0, absent or NaN differs from the others."""
    ddim = {"sampler": "DDIMSampler", "sampler.eta": 0.0}
    assert find_differences([{"sampler": "AncestralSampler"}, ddim]) == ["sampler"]
    assert find_differences([{**ddim, "sampler.eta": 1.0}, ddim]) == ["sampler.eta"]
    for values in ((None, False), (False, 0), (0, 0.5), (math.nan, 0.0)):
        assert find_differences([{"x": value} for value in values]) == ["x"]
    assert find_differences([{"x": math.nan}, {"x": math.nan}]) == []
    assert find_differences([{}, {"x": None}]) == ["x"]


def test_settings_match_as_yaml_and_json_write_them():
    assert are_equal("1e-4", 0.0001) and are_equal([1], [1])
    assert not are_equal(True, 1) and not are_equal("a", "b") and not are_equal(10**400, "1")
    assert matches({"a": "Simple"}, {"a": ["Hybrid", "lit_diffusion.diffusion.Simple"], "b": None})
    assert not matches({"a": "Simple"}, {"a": "Simple", "b": 1})


def test_another_experiment_in_a_folder_is_refused_with_the_first_setting_that_differs():
    theirs, ours = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "c": 6, "d": 7}
    with pytest.raises(ConfigError, match="runs/x holds another experiment: c is 3 there and 6 here; move it") as error:
        check_same_experiment("runs/x", theirs, ours, lambda key: key != "b", "move it")
    assert error.value.key == "c"
    check_same_experiment("runs/x", theirs, ours, lambda key: key == "a", "move it")
