"""The next cell of a sweep by what is known of the others: the tree-structured Parzen estimator of optuna."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.cell import Cell
from lit_diffusion.sweep.parameters import Choice, fraction
from lit_diffusion.sweep.sweep_file import SweepFile

LAST = math.nextafter(1.0, 0.0)  # quantile
TRIES = 20  # at a cell that has not been run


def suggest(
    sweep: SweepFile, history: Sequence[tuple[Mapping[str, Any], float | None]], index: int, seed: int
) -> dict[str, Any]:
    """The settings of cell number `index`: a function of the file, the history, the index and the seed.

    history: the settings and the score of each cell so far; None, or no number, where it diverged or failed, which
    counts as the worst score of the others, as at W&B. What lies outside the file's values is left out.

    A cell of the history is suggested again only where no other is found. Raises ConfigError without optuna.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "bayes needs optuna; run pip install 'lit_diffusion[bayes]', or use method: random"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {
        key: optuna.distributions.CategoricalDistribution(range(len(parameter.values)))
        if isinstance(parameter, Choice)
        else optuna.distributions.FloatDistribution(0.0, LAST)
        for key, parameter in sweep.parameters.items()
    }
    sampler = optuna.samplers.TPESampler(seed=int(fraction("bayes", seed, index) * 2**32))
    study = optuna.create_study(direction=sweep.metric["goal"], sampler=sampler)
    scores = [score for _, score in history if score is not None and math.isfinite(score)]
    worst = (min if sweep.metric["goal"] == "maximize" else max)(scores, default=None)
    for settings, score in history:
        place = position(sweep, settings)
        if place and worst is not None:
            value = worst if score is None or not math.isfinite(score) else score
            study.add_trial(optuna.trial.create_trial(params=place, distributions=space, value=value))
    known = [Cell.of({key: one[key] for key in sweep.parameters if key in one}).arguments for one, _ in history]
    for _ in range(TRIES):
        place = study.ask(space).params
        cell = {
            key: parameter.values[place[key]] if isinstance(parameter, Choice) else parameter.at(place[key])
            for key, parameter in sweep.parameters.items()
        }
        if Cell.of(cell).arguments not in known:
            break
    return cell


def position(sweep: SweepFile, settings: Mapping[str, Any]) -> dict[str, float] | None:
    """Where settings lie in the file's space: indices of values, quantiles of numbers; None if outside."""
    place: dict[str, float] = {}
    for key, parameter in sweep.parameters.items():
        try:
            value = settings[key]
            place[key] = parameter.index(value) if isinstance(parameter, Choice) else parameter.quantile(value)
        except (KeyError, ValueError, TypeError):
            return None
        if not isinstance(parameter, Choice):
            if not -1e-9 <= place[key] <= 1 + 1e-9:
                return None
            place[key] = min(max(place[key], 0.0), LAST)
    return place
