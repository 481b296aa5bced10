"""What a sweep file writes below a key of `parameters`, read and checked."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.parameters import Choice, Integers, Normal, Parameter, Reals


def read_parameter(spec: Any) -> Parameter:
    """The values that `spec`, what stands below a key of `parameters`, describes. Raises ConfigError."""
    if not isinstance(spec, Mapping):
        raise ConfigError("says no values; write {values: [...]}, {value: ...} or {min: ..., max: ...}")
    if "parameters" in spec:
        raise ConfigError("nested parameters do not reach the command line; write dotted keys, as model.optimizer.lr")
    name = spec["distribution"] if "distribution" in spec else usual_distribution(spec)
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        raise ConfigError(f"there is no distribution {name} here; write one of {', '.join(DISTRIBUTIONS)}")
    build, needed, others = DISTRIBUTIONS[name]
    settings = {key: value for key, value in spec.items() if key != "distribution"}
    for key in settings:
        if key not in (*needed, *others):
            raise ConfigError(f"{name} takes no {key}; write {', '.join((*needed, *others))}")
    for key in needed:
        if key not in settings:
            raise ConfigError(f"{name} needs {key}; write {', '.join(needed)}")
    return build(settings)


def usual_distribution(spec: Mapping[str, Any]) -> str:
    """The distribution of a parameter that names none, as W&B takes it."""
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    if "min" in spec and "max" in spec:
        return "int_uniform" if all(type(spec[end]) is int for end in ("min", "max")) else "uniform"
    raise ConfigError("says no values; write values, or value, or min and max")


def constant(spec: Mapping[str, Any]) -> Choice:
    return Choice((not_null(spec["value"]),), (1.0,))


def categorical(spec: Mapping[str, Any]) -> Choice:
    values = spec["values"]
    if not isinstance(values, list) or not values:
        raise ConfigError("values: there are none; write a list of one or more, as [0.1, 0.2]")
    spelled = [str(not_null(value)) for value in values]
    for value in spelled:
        if spelled.count(value) > 1:
            raise ConfigError(f"values: {value} stands twice; write it once")
    given = spec.get("probabilities", [1] * len(values))
    if not isinstance(given, list) or len(given) != len(values):
        raise ConfigError("probabilities: write a list of as many numbers as there are values")
    weights = [number({"probabilities": weight}, "probabilities") for weight in given]
    if min(weights) < 0 or sum(weights) <= 0:
        raise ConfigError("probabilities: write numbers of 0 or more, and not all of them 0")
    return Choice(tuple(values), tuple(weight / sum(weights) for weight in weights))


def int_uniform(spec: Mapping[str, Any]) -> Integers:
    low, high = ends(spec)
    if not (isinstance(low, int) and isinstance(high, int)):
        raise ConfigError("int_uniform has whole ends; write min and max without a point, or distribution: uniform")
    return Integers(low, high)


def reals(log: bool = False, quantized: bool = False) -> Callable[[Mapping[str, Any]], Reals]:
    def build(spec: Mapping[str, Any]) -> Reals:
        low, high = ends(spec)
        if log and low <= 0:
            raise ConfigError(f"min: {low} has no logarithm; write a positive number")
        q = number(spec, "q") if "q" in spec else 1.0 if quantized else None
        result = Reals(low, high, log, q)
        if q is not None and (q <= 0 or not result.multiples):
            raise ConfigError(f"q: no multiple of {q} lies from {low} to {high}; write a smaller positive number")
        return result

    return build


def normal(spec: Mapping[str, Any]) -> Normal:
    mu, sigma = number({"mu": 0.0, **spec}, "mu"), number({"sigma": 1.0, **spec}, "sigma")
    if sigma <= 0:
        raise ConfigError(f"sigma: {sigma} is no standard deviation; write a positive number")
    return Normal(mu, sigma)


def ends(spec: Mapping[str, Any]) -> tuple[float, float]:
    low, high = number(spec, "min"), number(spec, "max")
    if low >= high:
        raise ConfigError(f"min: {low} is not below max, {high}; write the smaller number first")
    return low, high


def number(spec: Mapping[str, Any], key: str) -> float:
    """A finite number of the file. YAML takes 1e-4, without a point, for a text."""
    value = spec[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key}: {value} is no number; write one, with a point before an e, as 1.0e-4")
    return value


def not_null(value: Any) -> Any:
    if value is None:
        raise ConfigError('null would reach the command line as None; write the text "null"')
    return value


# By W&B's name: what reads it, what it needs, what it may have beside that.
DISTRIBUTIONS: dict[str, tuple[Callable[[Mapping[str, Any]], Parameter], tuple[str, ...], tuple[str, ...]]] = {
    "constant": (constant, ("value",), ()),
    "categorical": (categorical, ("values",), ("probabilities",)),
    "categorical_w_probabilities": (categorical, ("values", "probabilities"), ()),
    "int_uniform": (int_uniform, ("min", "max"), ()),
    "uniform": (reals(), ("min", "max"), ()),
    "q_uniform": (reals(quantized=True), ("min", "max"), ("q",)),
    "log_uniform_values": (reals(log=True), ("min", "max"), ()),
    "inv_log_uniform_values": (reals(log=True), ("min", "max"), ()),  # 1 / x log-uniform: then x is so too
    "q_log_uniform_values": (reals(log=True, quantized=True), ("min", "max"), ("q",)),
    "normal": (normal, (), ("mu", "sigma")),
}
