"""When the game between generator and discriminator is over: a GAN's own criterion of divergence."""

import math

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError, check_at_least

DECAY = 0.99  # of the running averages


class Collapse(nn.Module):
    """Running averages of what happens in training, and the reason why it has failed, if it has.

    It has failed if at each of the last `patience` steps the discriminator had won outright, with a loss of at most
    `lost` times that of one that knows nothing, so that neither of the two learns any more; or if the generator's
    samples were equal, with a spread of at most `spread` times that of the real examples. (The spread of a batch is the
    root of its total variance. Samples of a few kinds only are not recognised by it; recall and FID tell.)

    patience: 0 never calls a run failed.
    """

    averages: Tensor  # of the discriminator's loss, as a share; of its rate of errors; of the ratio of spreads
    steps: Tensor  # for which the discriminator has won without a break, and for which samples have been equal

    def __init__(self, patience: int = 1000, lost: float = 0.01, spread: float = 0.05):
        super().__init__()
        check_at_least(0, patience=patience)
        for name, value in {"lost": lost, "spread": spread}.items():
            if not 0 < value < 1:
                raise ConfigError(f"{name}: expected a number between 0 and 1, got {value:g}")
        self.patience, self.limits = patience, (lost, spread)
        self.register_buffer("averages", torch.full((3,), math.nan))
        self.register_buffer("steps", torch.zeros(2))

    @torch.no_grad()
    def update(self, new: Tensor) -> None:
        """Takes in the three numbers of a step, which must be equal on all ranks. Does not wait for the device."""
        self.averages.copy_(torch.where(self.averages.isnan(), new, new.lerp(self.averages, DECAY)))
        failing = self.averages[[0, 2]] <= self.averages.new_tensor(self.limits)
        self.steps.copy_(torch.where(failing, self.steps + 1, 0))

    @property
    def reason(self) -> str | None:
        """Why training has failed, or None."""
        won, equal = self.steps.tolist()
        if not self.patience or max(won, equal) < self.patience:
            return None
        loss, _, spread = self.averages.tolist()
        if won >= self.patience:
            return f"the discriminator has won outright for {won:.0f} steps, with {loss:.2%} of the loss of a guess"
        return f"the generator's samples have been equal for {equal:.0f} steps, with {spread:.2%} of the data's spread"


def spread_of(x: Tensor) -> Tensor:
    """The root of the total variance of examples x (B, *), a scalar."""
    return x.detach().flatten(1).var(0, correction=0).sum().sqrt()
