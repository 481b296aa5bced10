"""The values that a sweep file gives a key: a list or a distribution, in the words of W&B."""

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

DIGITS = 4  # significant digits of a drawn number: enough for a search, and a name can hold them


class Parameter(ABC):
    """The values of one key, ordered by quantiles in [0, 1)."""

    @abstractmethod
    def at(self, quantile: float) -> Any:
        """The value at a quantile in [0, 1); a uniform quantile draws from the distribution."""

    def listed(self) -> tuple[Any, ...] | None:
        """All values, or None where they have no end."""
        return None

    def count(self) -> int | None:
        """How many values there are, or None where they have no end."""
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

    def listed(self) -> tuple[Any, ...]:
        return self.values

    def count(self) -> int:
        return len(self.values)

    def index(self, value: Any) -> int:
        """Where a value stands; ValueError if it does not. What the command line spells alike is the same."""
        return [str(one) for one in self.values].index(str(value))


class Number(Parameter):
    """A number, of which a search knows near from far."""

    @abstractmethod
    def quantile(self, value: float) -> float:
        """The inverse of `at`, but for rounding; outside [0, 1] where the value is outside the distribution."""


@dataclass(frozen=True)
class Integers(Number):
    """Whole numbers from low to high, both included."""

    low: int
    high: int

    def at(self, quantile: float) -> int:
        return self.low + int(quantile * (self.high - self.low + 1))

    def quantile(self, value: float) -> float:
        return (value - self.low + 0.5) / (self.high - self.low + 1)

    def listed(self) -> tuple[int, ...]:
        return tuple(range(self.low, self.high + 1))

    def count(self) -> int:
        return self.high + 1 - self.low


@dataclass(frozen=True)
class Reals(Number):
    """Numbers from low to high, uniform or uniform in their logarithm; where q is given, the nearest multiples of q."""

    low: float
    high: float
    log: bool = False
    q: float | None = None

    def at(self, quantile: float) -> float:
        low, high = self._ends()
        value = low + quantile * (high - low)
        value = math.exp(value) if self.log else value
        if self.q is None:
            return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        multiple = self.q * min(max(round(value / self.q), self.multiples[0]), self.multiples[-1])
        return int(multiple) if isinstance(self.q, int) else float(f"{multiple:.12g}")

    def quantile(self, value: float) -> float:
        low, high = self._ends()
        return ((math.log(value) if self.log else value) - low) / (high - low)

    @property
    def multiples(self) -> range:
        """Which multiples of q lie from low to high; division rounds, as that of 0.3 by 0.1."""
        return range(math.ceil(self.low / self.q - 1e-9), math.floor(self.high / self.q + 1e-9) + 1)

    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)


@dataclass(frozen=True)
class Normal(Number):
    """A normal distribution."""

    mu: float = 0.0
    sigma: float = 1.0

    def at(self, quantile: float) -> float:
        return float(f"{NormalDist(self.mu, self.sigma).inv_cdf(max(quantile, 2.0**-53)):.{DIGITS}g}")

    def quantile(self, value: float) -> float:
        return NormalDist(self.mu, self.sigma).cdf(value)


def fraction(*parts: int | str) -> float:
    """A number in [0, 1) that is a fixed function of its parts, uniform over different parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
