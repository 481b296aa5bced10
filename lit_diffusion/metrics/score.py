"""Scores: a value with its spread and protocol, without which values cannot be compared."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass  # not frozen: torchmetrics rebuilds the result of `compute`
class Score:
    """A measured value, its spread, and how it was measured.

    value: None if the model has diverged. std: the standard deviation or standard error that the protocol names as
    "spread", or None. protocol: JSON values.

    >>> print(Score(3.17168), Score(9.4613, std=0.1142), Score(0.0123, std=0.0004), Score(None))
    3.172 9.46 ± 0.11 0.01230 ± 0.00040 diverged
    """

    value: float | None
    std: float | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.value is None:
            return "diverged"
        if self.std is None:
            return f"{self.value:.4g}"
        digits = min(6, max(0, 1 - math.floor(math.log10(self.std)))) if 0 < self.std < math.inf else 4
        return f"{self.value:.{digits}f} ± {self.std:.{digits}f}"

    def as_dict(self) -> dict[str, Any]:
        """The score as summary.json holds it."""
        return asdict(self)
