"""The next cell of a sweep, from the scores of the others: optuna's tree-structured Parzen estimator (TPE)."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.cell import Cell
from lit_diffusion.sweep.parameters import Choice, Normal, NumericParameter, Parameter, hash_to_fraction
from lit_diffusion.sweep.sweep_file import SweepFile

LAST = math.nextafter(1.0, 0.0)  # quantile
TOLERANCE = 1e-9  # of quantiles, for rounded values
TRIES = 20  # to find a cell that has not been run


def suggest(
    sweep: SweepFile,
    history: Sequence[tuple[Mapping[str, Any], float | None]],
    index: int,
    seed: int,
    running: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:
    """The settings of cell number `index`: a function of the file, the cells before it, the index and the seed.

    history: the settings and the score of each earlier cell. A score of None or NaN, of a cell that diverged or failed,
    counts as the worst of the others, as on W&B. Cells outside the file's values are ignored.

    running: the settings of earlier cells that have no score yet. No cell is suggested twice: None if no other is
    found, as at the end of a space of few cells. Raises ConfigError without optuna.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "bayes needs optuna; run pip install 'lit_diffusion[bayes]', or use method: random"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        key: optuna.distributions.CategoricalDistribution(range(len(parameter.values)))
        if isinstance(parameter, Choice)
        else optuna.distributions.FloatDistribution(0.0, LAST)
        for key, parameter in sweep.parameters.items()
    }
    sampler = optuna.samplers.TPESampler(seed=int(hash_to_fraction("bayes", seed, index) * 2**32))
    maximizes = sweep.metric["goal"] == "maximize"
    study = optuna.create_study(direction="maximize" if maximizes else "minimize", sampler=sampler)
    scores = [score for _, score in history if score is not None and math.isfinite(score)]
    worst = (min if maximizes else max)(scores, default=None)
    for settings, score in history:
        position = locate(sweep, settings)
        if position and worst is not None:
            value = worst if score is None or not math.isfinite(score) else score
            study.add_trial(optuna.trial.create_trial(params=position, distributions=space, value=value))
    earlier = [*(settings for settings, _ in history), *running]
    known = [Cell.make({key: one[key] for key in sweep.parameters if key in one}).arguments for one in earlier]
    for _ in range(TRIES):
        drawn = study.ask(space).params
        cell = {
            key: parameter.values[drawn[key]] if isinstance(parameter, Choice) else parameter.at(drawn[key])
            for key, parameter in sweep.parameters.items()
        }
        if Cell.make(cell).arguments not in known:
            return cell
    choices = [one.values if isinstance(one, Choice) else () for one in sweep.parameters.values()]
    cells = (dict(zip(sweep.parameters, values)) for values in product(*choices))
    return next((cell for cell in cells if Cell.make(cell).arguments not in known), None)


def locate(sweep: SweepFile, settings: Mapping[str, Any]) -> dict[str, float] | None:
    """Settings as a position in the file's space: indices of values, quantiles of numbers; None if outside."""
    position: dict[str, float] = {}
    for key, parameter in sweep.parameters.items():
        try:
            if isinstance(parameter, Choice):
                position[key] = parameter.index(settings[key])
            elif isinstance(parameter, NumericParameter):
                quantile = parameter.quantile(settings[key])
                if not -TOLERANCE <= quantile <= 1 + TOLERANCE:
                    return None
                position[key] = min(max(quantile, 0.0), LAST)
        except (KeyError, ValueError, TypeError):
            return None
    return position


def list_ends(parameter: Parameter) -> tuple[Any, ...]:
    """All values of a list, the lowest and the highest of a range; none of a normal distribution, which has no ends."""
    if isinstance(parameter, Choice):
        return parameter.values
    return () if isinstance(parameter, Normal) else (parameter.at(0.0), parameter.at(LAST))
