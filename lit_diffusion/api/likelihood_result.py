"""What a model's bound on the likelihood of some examples consists of."""

from dataclasses import dataclass

from torch import Tensor

from lit_diffusion.diffusion.bound_estimate import Curve, Estimate
from lit_diffusion.metrics import Score


@dataclass(frozen=True)
class LikelihoodResult:
    """A bound on -log p of some examples, in bits/dim.

    value and error: mean and standard error; per_example: (N,) float64; terms: what the bound consists of, by name;
    curve: the bound, rate and distortion by steps, of diffusion models; scores: as `summary.json` has them, on request
    with K, L_null, K_minus_null and gap.
    """

    value: float
    error: float | None
    per_example: Tensor
    terms: dict[str, Estimate]
    curve: Curve | None
    scores: dict[str, Score]

    def __str__(self) -> str:
        return str(self.scores["bits_per_dim"])
