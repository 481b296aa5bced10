"""The embedded digits in black and white, for the binomial family."""

from lit_diffusion.data.digits import Digits
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError


class BinarizedDigits(Digits):
    """`Digits` with the same split; levels above `threshold` become 1, the others 0: served as 1 and -1.

    threshold: from 0 to 15, on the scans' scale 0..16.
    """

    num_levels = 2

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        flip: bool = False,
        seed: int | None = None,
        threshold: int = 7,
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed)
        if not 0 <= threshold < Digits.num_levels - 1:
            raise ConfigError(f"threshold: expected 0 to 15 for levels 0..16, got {threshold}")
        self.threshold = threshold

    def read(self) -> dict[str, MemoryStore]:
        return {
            split: MemoryStore((scans.images > self.threshold).to(scans.images.dtype), scans.labels)
            for split, scans in super().read().items()
        }
