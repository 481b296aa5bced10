"""The scores that this code knows: their names in a table, and which way is better."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class KnownScore:
    """title: of a column. best: lowest or highest. digits: after the point. prefix: of a bound. fixed: whether it has
    all its digits; if not, no more than four significant ones. caveat: what stands below every table that shows it.
    """

    title: str
    best: str | None = None
    digits: int = 3
    prefix: str = ""
    fixed: bool = True
    caveat: str = ""


BOUND = "≤"
PARZEN = (
    "in many dimensions it is not near the likelihood, nor does it rank models as that does (Theis et al. 2016, "
    "arXiv 1511.01844)"
)
KNOWN = {
    "inception_score": KnownScore("IS", "highest", 2),
    "fid": KnownScore("FID", "lowest", 2),
    "fid/test": KnownScore("FID test", "lowest", 2),
    "kid": KnownScore("KID", "lowest", 4, fixed=False),
    "precision": KnownScore("precision", "highest"),
    "recall": KnownScore("recall", "highest"),
    "bits_per_dim/test": KnownScore("NLL test", "lowest", 3, BOUND),
    "bits_per_dim/train": KnownScore("NLL train", "lowest", 3, BOUND),
    "K": KnownScore("K", "highest"),
    "K_minus_null": KnownScore("K - L_null", "highest"),
    "L_null": KnownScore("L_null"),
    "gap": KnownScore("gap to the truth", "lowest"),
    "parzen_log_likelihood": KnownScore("Parzen", "highest", 1, caveat=PARZEN),
}
RAW = "/raw"


def is_known(name: str) -> bool:
    """Whether a score of that name can stand in a summary of this code."""
    return name.removesuffix(RAW) in KNOWN


def known(name: str) -> KnownScore:
    """What is known of a score; for others their own name, and no direction."""
    score = KNOWN.get(name.removesuffix(RAW), KnownScore(name.removesuffix(RAW), digits=6, fixed=False))
    return replace(score, title=f"{score.title} (raw weights)") if name.endswith(RAW) else score
