"""The values of a key in a sweep file: a list or a distribution, in W&B's words."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from lit_diffusion.errors import ConfigError

DIGITS = 4  # significant digits of a drawn number: enough for a search, and short enough for a name
Spec = Mapping[str, Any]


class Parameter(ABC):
    """The values of one key, ordered by quantiles in [0, 1)."""

    @abstractmethod
    def at(self, quantile: float) -> Any:
        """The value at a quantile in [0, 1); a uniform quantile draws from the distribution."""

    def list_values(self) -> Sequence[Any] | None:
        """All values; None for a distribution."""
        return None


@dataclass(frozen=True)
class Choice(Parameter):
    """One of some values, with probabilities that sum to 1."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...]

    def at(self, quantile: float) -> Any:
        total = 0.0
        for value, probability in zip(self.values, self.probabilities):
            total += probability
            if quantile < total:
                return value
        return next(v for v, p in zip(reversed(self.values), reversed(self.probabilities)) if p)  # the sum is rounded

    def list_values(self) -> Sequence[Any]:
        return self.values

    def index(self, value: Any) -> int:
        """The position of a value, compared as the command line spells it. Raises ValueError if it is not there."""
        return [str(one) for one in self.values].index(str(value))


class NumericParameter(Parameter):
    """A number: a search knows which values are near each other."""

    @abstractmethod
    def quantile(self, value: float) -> float:
        """The inverse of `at` except for rounding; outside [0, 1] for a value outside the distribution."""


@dataclass(frozen=True)
class Integers(NumericParameter):
    """Whole numbers from low to high, both included."""

    low: int
    high: int

    def at(self, quantile: float) -> int:
        return self.low + int(quantile * (self.high - self.low + 1))

    def quantile(self, value: float) -> float:
        return (value - self.low + 0.5) / (self.high - self.low + 1)

    def list_values(self) -> Sequence[int]:
        return range(self.low, self.high + 1)


@dataclass(frozen=True)
class Reals(NumericParameter):
    """Numbers from low to high, uniform or, if log, uniform in their logarithm."""

    low: float
    high: float
    log: bool = False

    def at(self, quantile: float) -> float:
        return min(max(float(f"{self._interpolate(quantile):.{DIGITS}g}"), self.low), self.high)

    def quantile(self, value: float) -> float:
        low, high = self._ends()
        return ((math.log(value) if self.log else value) - low) / (high - low)

    def _interpolate(self, quantile: float) -> float:
        low, high = self._ends()
        value = low + quantile * (high - low)
        return math.exp(value) if self.log else value

    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)


@dataclass(frozen=True)
class Multiples(Reals):
    """The nearest multiples of q to such numbers; whole numbers if q is one."""

    q: float = 1.0

    def at(self, quantile: float) -> float:
        multiples = self.list_multiples()
        multiple = self.q * min(max(round(self._interpolate(quantile) / self.q), multiples[0]), multiples[-1])
        return int(multiple) if isinstance(self.q, int) else float(f"{multiple:.12g}")

    def list_multiples(self) -> range:
        """Which multiples of q lie from low to high. The tolerance is for quotients such as 0.3 / 0.1."""
        return range(math.ceil(self.low / self.q - 1e-9), math.floor(self.high / self.q + 1e-9) + 1)


@dataclass(frozen=True)
class Normal(NumericParameter):
    """A normal distribution."""

    mu: float = 0.0
    sigma: float = 1.0

    def at(self, quantile: float) -> float:
        return float(f"{NormalDist(self.mu, self.sigma).inv_cdf(max(quantile, 2.0**-53)):.{DIGITS}g}")

    def quantile(self, value: float) -> float:
        return NormalDist(self.mu, self.sigma).cdf(value)


def hash_to_fraction(*parts: int | str) -> float:
    """A number in [0, 1) that is a fixed function of its parts, and uniform over different parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def read_parameter(spec: Any) -> Parameter:
    """The values that `spec`, the content of a key below `parameters`, describes. Raises ConfigError for a mistake."""
    if not isinstance(spec, Mapping):
        raise ConfigError("expected {values: [...]}, {value: ...} or {min: ..., max: ...}")
    if "parameters" in spec:
        raise ConfigError(
            "nested parameters do not reach the command line; use dotted keys, such as model.optimizer.lr"
        )
    name = spec["distribution"] if "distribution" in spec else _find_usual_distribution(spec)
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        raise ConfigError(f"unknown distribution {name}; choose one of {', '.join(DISTRIBUTIONS)}")
    build, needed, optional = DISTRIBUTIONS[name]
    fields = {key: value for key, value in spec.items() if key != "distribution"}
    for key in fields:
        if key not in (*needed, *optional):
            raise ConfigError(f"{name} does not take {key}; choose from {', '.join((*needed, *optional))}")
    for key in needed:
        if key not in fields:
            raise ConfigError(f"{name} needs {key}; set {', '.join(needed)}")
    return build(fields)


def _find_usual_distribution(spec: Spec) -> str:
    """The distribution that W&B chooses for a parameter that names none."""
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    if "min" in spec and "max" in spec:
        return "int_uniform" if all(type(spec[end]) is int for end in ("min", "max")) else "uniform"
    raise ConfigError("no values; set values, or value, or min and max")


def _read_choice(spec: Spec) -> Choice:
    values = [spec["value"]] if "value" in spec else spec["values"]
    if not isinstance(values, list) or not values:
        raise ConfigError("values: expected a list of at least one value, such as [0.1, 0.2]")
    if None in values:
        raise ConfigError('null would reach the command line as None; use the text "null"')
    spelled = [str(value) for value in values]
    for value in spelled:
        if spelled.count(value) > 1:
            raise ConfigError(f"values: {value} is listed twice; list it once")
    given = spec.get("probabilities", [1] * len(values))
    if not isinstance(given, list) or len(given) != len(values):
        raise ConfigError("probabilities: expected a list with a number for each value")
    weights = [_read_number({"probabilities": weight}, "probabilities") for weight in given]
    if min(weights) < 0 or sum(weights) <= 0:
        raise ConfigError("probabilities: expected numbers of 0 or more that are not all 0")
    return Choice(tuple(values), tuple(weight / sum(weights) for weight in weights))


def _read_integers(spec: Spec) -> Integers:
    low, high = _read_ends(spec)
    if not (isinstance(low, int) and isinstance(high, int)):
        raise ConfigError("int_uniform: expected min and max without a point; otherwise use distribution: uniform")
    return Integers(low, high)


def _read_reals(log: bool = False, quantized: bool = False) -> Callable[[Spec], Reals]:
    def read(spec: Spec) -> Reals:
        low, high = _read_ends(spec)
        if log and low <= 0:
            raise ConfigError(f"min: expected a positive number, got {low}, which has no logarithm")
        if not quantized:
            return Reals(low, high, log)
        q = _read_number({"q": 1.0, **spec}, "q")
        if q <= 0 or not Multiples(low, high, log, q).list_multiples():
            raise ConfigError(f"q: no multiple of {q} from {low} to {high}; use a smaller positive number")
        return Multiples(low, high, log, q)

    return read


def _read_normal(spec: Spec) -> Normal:
    mu, sigma = _read_number({"mu": 0.0, **spec}, "mu"), _read_number({"sigma": 1.0, **spec}, "sigma")
    if sigma <= 0:
        raise ConfigError(f"sigma: expected a positive number, got {sigma}")
    return Normal(mu, sigma)


def _read_ends(spec: Spec) -> tuple[float, float]:
    low, high = _read_number(spec, "min"), _read_number(spec, "max")
    if low >= high:
        raise ConfigError(f"min: expected a number below max, {high}; got {low}")
    return low, high


def _read_number(spec: Spec, key: str) -> float:
    """A finite number. YAML reads 1e-4, without a point, as a text."""
    value = spec[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key}: expected a number, with a point before an exponent, such as 1.0e-4; got {value}")
    return value


# By W&B's name: the function that reads it, the keys that it needs, and the keys that it may have.
DISTRIBUTIONS: dict[str, tuple[Callable[[Spec], Parameter], tuple[str, ...], tuple[str, ...]]] = {
    "constant": (_read_choice, ("value",), ()),
    "categorical": (_read_choice, ("values",), ("probabilities",)),
    "categorical_w_probabilities": (_read_choice, ("values", "probabilities"), ()),
    "int_uniform": (_read_integers, ("min", "max"), ()),
    "uniform": (_read_reals(), ("min", "max"), ()),
    "q_uniform": (_read_reals(quantized=True), ("min", "max"), ("q",)),
    "log_uniform_values": (_read_reals(log=True), ("min", "max"), ()),
    "inv_log_uniform_values": (_read_reals(log=True), ("min", "max"), ()),  # x is log-uniform if 1 / x is
    "q_log_uniform_values": (_read_reals(log=True, quantized=True), ("min", "max"), ("q",)),
    "normal": (_read_normal, (), ("mu", "sigma")),
}
