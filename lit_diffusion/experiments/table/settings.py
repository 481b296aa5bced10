"""Settings of runs: which of them tell experiments apart, and how they are shown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ABSENT = object()  # of a setting that a run does not have
# Seeds make repetitions; the others change no score: where files go, and what is drawn or shown on the way.
SAME_EXPERIMENT = (
    "seed_everything",
    "run",
    "grids",
    "checkpoint",
    "prediction",
    "ckpt_path",
    "weights_only",
    "config",
    "trainer.logger",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
)
Settings = Mapping[str, Any]


def identity(settings: Settings) -> str:
    """Equal for runs that are repetitions of one experiment."""
    kept = {key: value for key, value in settings.items() if not within(key, SAME_EXPERIMENT)}
    return json.dumps(kept, sort_keys=True)


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
    except ValueError:
        return None


def matches(settings: Settings, where: Mapping[str, Any]) -> bool:
    """Whether every setting is the one that `where` asks for, or one of its list; null is a setting's absence too."""
    for key, wanted in where.items():
        value = settings.get(key)
        choices = [wanted, *wanted] if isinstance(wanted, list) else [wanted]
        if not any(equal(value, choice) for choice in choices):
            return False
    return True


def differing(all_settings: Sequence[Settings]) -> list[str]:
    """The keys in which experiments differ, fewest that tell it: options that come and go with a class are left out."""
    keys = [
        key for key in dict.fromkeys(key for one in all_settings for key in one) if not within(key, SAME_EXPERIMENT)
    ]
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
    return type(a) is type(b) and a == b


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
