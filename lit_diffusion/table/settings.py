"""Settings of runs: which of them tell experiments apart, and how they are shown."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ABSENT = object()  # of a setting that a run does not have
# What changes no score: where files go, what is drawn or shown on the way, and the machine.
CHANGES_NOTHING = (
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
    "data.root",
    "data.num_workers",
    "data.cache_bytes",
    "data.download",
    "data.eval_batch_size",
)
# Repetitions of one experiment differ in these: the seed, and the checkpoint that a run with that seed has made.
REPETITION = ("seed_everything", "ckpt_path")
FOLDER_IS_THE_DATA = ("ImageFolder",)  # others keep one and the same data set wherever it lies
CLASS_WITH_MODULE = re.compile(r"([A-Za-z_]\w*\.)+[A-Z]\w*")
Settings = Mapping[str, Any]


def identity(settings: Settings) -> str:
    """Equal for runs of the same settings, but for seed and checkpoint."""
    kept = {key: value for key, value in settings.items() if _tells_apart(key, settings)}
    return json.dumps(kept, sort_keys=True)


def matters(key: str) -> bool:
    """Whether a setting can change a score: neither where files go, nor what is shown, nor on which machine."""
    return not within(key, CHANGES_NOTHING)


def _tells_apart(key: str, settings: Settings) -> bool:
    """Whether a setting makes another experiment of a run."""
    if key == "data.root" and settings.get("data") in FOLDER_IS_THE_DATA:
        return True
    return matters(key) and key not in REPETITION


def within(key: str, others: Iterable[str]) -> bool:
    """Whether a key is one of the others or lies below one."""
    return any(key == other or key.startswith(f"{other}.") for other in others)


def equal(a: Any, b: Any) -> bool:
    """Of two values of YAML and JSON, where 1e-4 is a text in one and a number in the other."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b or (_number(a) is not None and _number(a) == _number(b))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def short_key(key: str) -> str:
    """One spelling of a dotted key: as summaries have it, without `init_args` and `class_path`."""
    return ".".join(part for part in key.split(".") if part not in ("init_args", "class_path"))


def short_value(value: Any) -> Any:
    """One spelling of a class: without its module. Lists: of each."""
    if isinstance(value, list):
        return [short_value(one) for one in value]
    return value.rpartition(".")[2] if isinstance(value, str) and CLASS_WITH_MODULE.fullmatch(value) else value


def choices(wanted: Any) -> list[Any]:
    """The values that `where` takes for a setting: the one, each of a list, and the list itself."""
    both = [wanted, *wanted] if isinstance(wanted, list) else [wanted]
    return [*both, *(short_value(one) for one in both if short_value(one) != one)]


def matches(settings: Settings, where: Mapping[str, Any]) -> bool:
    """Whether every setting is the one that `where` asks for, or one of its list; null is a setting's absence too."""
    for key, wanted in where.items():
        value = settings.get(key)
        if not any(equal(value, choice) for choice in choices(wanted)):
            return False
    return True


def differing(all_settings: Sequence[Settings]) -> list[str]:
    """The keys in which experiments differ, fewest that tell it: options that come and go with a class are left out."""
    keys = list(dict.fromkeys(key for one in all_settings for key in one if _tells_apart(key, one)))
    values = {key: [one.get(key, ABSENT) for one in all_settings] for key in keys}
    several = {key for key in keys if any(not same(value, values[key][0]) for value in values[key])}
    chosen = []
    for key in keys:
        present = [value for value in values[key] if value is not ABSENT]
        varies = any(not same(value, present[0]) for value in present)
        if key in several and (varies or not any(key.startswith(f"{other}.") for other in several)):
            chosen.append(key)
    return chosen


def same(a: Any, b: Any) -> bool:
    """Equal, and of one kind: absence, null, False and 0 all differ."""
    return type(a) is type(b) and (a == b or (a != a and b != b))  # not a number is equal to itself here


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest endings that tell keys apart: model.sampler.steps becomes steps."""
    return {key: next(end for end in _endings(key) if sum(end in _endings(other) for other in keys) == 1 or end == key)
            for key in keys}  # fmt: skip


def _endings(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]


def shown(value: Any) -> str:
    """A setting in a table."""
    if value is ABSENT:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value)


def order(value: Any) -> tuple[int, float, str]:
    """Sorts settings: what is absent, numbers, texts, null."""
    if value is ABSENT:
        return 0, 0, ""
    if isinstance(value, int | float):
        return 1, value, ""
    return (3, 0, "") if value is None else (2, 0, str(value))
