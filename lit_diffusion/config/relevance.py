"""Which settings matter to whom: to scores, to the identity of an experiment, to its training."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lit_diffusion.config.keys import is_within, last_part
from lit_diffusion.errors import ConfigError

Settings = Mapping[str, Any]  # by dotted keys, as `keys.flatten` makes them
ABSENT = object()  # in place of a setting that a run does not have
CHECKPOINT = "ckpt_path"
# No score depends on these: where files go, what is drawn or printed, and the machine.
WITHOUT_EFFECT = (
    "run",
    "grids",
    "checkpoint",
    "prediction",
    "weights_only",
    "config",
    "trainer.logger",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "speed",
    "data.root",
    "data.num_workers",
    "data.cache_bytes",
    "data.download",
    "data.eval_batch_size",
)
# How and when a model is scored; the protocol of each score records the former.
SCORING = (
    "model.sampler",
    "scores",
    "bits_per_dim",
    "divergence",
    "trainer.precision",
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.num_sanity_val_steps",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
    "trainer.limit_predict_batches",
    "trainer.inference_mode",
)
REPETITION = ("seed_everything", CHECKPOINT)  # repetitions of an experiment differ in these
ROOT_IS_THE_DATA = (  # other data sets are the same wherever their files are
    *("ImageArray", "ImageArrow", "ImageClassFolder", "ImageFolder", "ImageHub", "ImageLMDB", "ImageParquet"),
    *("ImageWebDataset", "ImageZip", "MNISTFiles"),
)
CLASS_WITH_MODULE = re.compile(r"([A-Za-z_]\w*\.)+[A-Z]\w*")


def affects_scores(key: str) -> bool:
    """Whether a setting can change a score."""
    return not is_within(key, WITHOUT_EFFECT)


def affects_training(key: str) -> bool:
    """Whether a setting can change a trained model, rather than how it is scored."""
    return not is_within(key, SCORING)


def _identifies(key: str, settings: Settings) -> bool:
    """Whether runs that differ in a setting are different experiments."""
    if key == "data.root" and settings.get("data") in ROOT_IS_THE_DATA:
        return True
    return affects_scores(key) and key not in REPETITION


def identify(settings: Settings) -> str:
    """A text that is equal for runs of one experiment, whatever their seeds, checkpoints, folders and machines."""
    return json.dumps({key: value for key, value in settings.items() if _identifies(key, settings)}, sort_keys=True)


def check_same_experiment(
    folder: object, theirs: Settings, ours: Settings, is_compared: Callable[[str], bool], remedy: str
) -> None:
    """Raises ConfigError, which ends with `remedy`, if the run in `folder` and this one disagree in a setting.

    theirs, ours: the settings of both; a setting that only one of them has is not compared.
    """
    for key, value in ours.items():
        if key in theirs and theirs[key] != value and is_compared(key):
            raise ConfigError(
                f"{folder} holds another experiment: {key} is {theirs[key]} there and {value} here; {remedy}", key=key
            )


def list_changes(before: Settings, now: Settings, keys: Sequence[str]) -> list[str]:
    """The settings at or below `keys` that differ, or that only one of them has."""
    named = [key for key in {**now, **before} if is_within(key, keys)]
    return [key for key in named if _vary([before.get(key, ABSENT), now.get(key, ABSENT)])]


def find_differences(all_settings: Sequence[Settings]) -> list[str]:
    """The keys in which experiments differ, without the arguments of classes that differ themselves."""
    keys = list(dict.fromkeys(key for one in all_settings for key in one if _identifies(key, one)))
    values = {key: [one.get(key, ABSENT) for one in all_settings] for key in keys}
    differing = {key for key in keys if _vary(values[key])}

    def comes_with_class(key: str) -> bool:
        above = any(key != other and is_within(key, [other]) for other in differing)
        return above and not _vary([value for value in values[key] if value is not ABSENT])

    return [key for key in keys if key in differing and not comes_with_class(key)]


def _vary(values: Sequence[Any]) -> bool:
    """Whether values differ: absence, null, False and 0 are all different, and NaN equals itself."""
    first = values[0]
    return any(type(one) is not type(first) or (one != first and (one == one or first == first)) for one in values)


def matches(settings: Settings, where: Settings) -> bool:
    """Whether every setting has the wanted value, or one of a list of wanted values; null also matches its absence."""
    return all(
        any(are_equal(settings.get(key), choice) for choice in _list_choices(wanted)) for key, wanted in where.items()
    )


def _list_choices(wanted: Any) -> list[Any]:
    """A value, the elements of a list and the list itself, all with and without the modules of classes."""
    choices = [wanted, *wanted] if isinstance(wanted, list) else [wanted]
    return [*choices, *map(drop_modules, choices)]


def drop_modules(value: Any) -> Any:
    """The name of a class, or of each in a list, without its module; other values unchanged."""
    if isinstance(value, list):
        return [drop_modules(one) for one in value]
    return last_part(value) if isinstance(value, str) and CLASS_WITH_MODULE.fullmatch(value) else value


def are_equal(a: Any, b: Any) -> bool:
    """Whether two values of YAML or JSON are equal; 1e-4 is a text in one of them and a number in the other."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b or (_number(a) is not None and _number(a) == _number(b))


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
