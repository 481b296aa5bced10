"""What the user may have meant: the nearest of the names that exist."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from lit_diffusion.config.keys import normalize_key

FEW = 12  # names that one line can hold
LIKELY = 0.65  # of 1; names less alike are not suggested
# Settings by the names that they have in other code bases.
ELSEWHERE = {
    "gpus": "devices",
    "learning_rate": "lr",
    "epochs": "max_epochs",
    "iterations": "max_steps",
    "timesteps": "num_steps",
    "output_dir": "run.dir",
    "resume": "ckpt_path",
    "seed": "seed_everything",
}


def likeness(a: str, b: str) -> float:
    """1 for names that differ in case and punctuation only, towards 0 for names that share nothing.

    >>> likeness("val_loss", "val/loss"), likeness("cosine", "CosineSchedule") > LIKELY > likeness("fit", "doctor")
    (1.0, True)
    """
    a, b = (re.sub(r"[\W_]", "", name).lower() for name in (a, b))
    if a == b:
        return 1.0
    short, long = sorted((a, b), key=len)
    inside = 0.8 + 0.1 * len(short) / len(long) if len(short) > 2 and short in long else 0.0
    return max(inside, SequenceMatcher(None, a, b).ratio())


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, if one is."""
    name = ELSEWHERE.get(name, name)
    best = max(known, key=lambda other: likeness(name, other), default=None)
    return best if best is not None and likeness(name, best) >= LIKELY else None


def suggestion(name: str, known: Sequence[str]) -> str:
    """What to use instead of `name`: the nearest of the known names, and the others if they are few."""
    near = nearest(name, known)
    others = [other for other in known if other != near]
    few = len(others) <= FEW
    if near:
        return f"use {near}" + (f" (or {', '.join(others)})" if others and few else "")
    if len(known) == 1:
        return f"use {known[0]}"
    return f"use one of {', '.join(known)}" if known and few else "use the name or import path of an existing one"


def nearest_keys(key: str, known: Iterable[str]) -> list[str]:
    """The known dotted keys, at most three, that are most like an unknown one, by their last parts; keys within the
    same setting come first.

    >>> nearest_keys("batch_size", ["data.batch_size", "scores.batch_size", "trainer.devices"])
    ['data.batch_size', 'scores.batch_size']
    >>> nearest_keys("trainer.max-step", ["trainer.max_steps", "trainer.max_epochs"])
    ['trainer.max_steps']
    """
    group, _, name = key.rpartition(".")
    name = ELSEWHERE.get(name.replace("-", "_"), name)

    def score(other: str) -> float:
        above, _, last = other.rpartition(".")
        near = likeness(name, last)
        return max(near if not group or group == above else near - 0.1, likeness(key, other))

    scores = {other: score(other) for other in map(normalize_key, known) if other != key}
    best = max(scores.values(), default=0.0)
    likely = [other for other in scores if scores[other] >= max(LIKELY, best - 0.05)]
    return sorted(likely, key=lambda other: (-scores[other], other.count(".")))[:3]
