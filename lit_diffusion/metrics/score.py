"""A score carries its protocol: a number alone compares with nothing."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass  # not frozen: torchmetrics rebuilds what `compute` returns
class Score:
    """A measured value, its spread, and how it was measured.

    value: None where there is no number, because the model has diverged. std: the standard deviation or standard error
    that the protocol names as "spread", or None. protocol: plain values, as JSON takes them.
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
        """As it stands in summary.json."""
        return asdict(self)
