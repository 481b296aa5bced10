"""A noise schedule that is trained with the model (Sohl-Dickstein et al. 2015, section 2.4.1)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from lit_diffusion.diffusion.schedule import LinearSchedule, NoiseSchedule
from lit_diffusion.errors import ConfigError


class LearnedSchedule(NoiseSchedule):
    """beta_2..beta_T are learned by gradient through x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps, beta_1
    stays as it is: without it the bound on real values would have no end.

    start: the schedule to begin with, every beta inside (0, 1). They stay inside, as sigmoids of what is learned, and
    so alpha_bar falls with every step. The prior's term of the bound then depends on what is learned, and objectives
    add it to the loss.
    """

    learned = True

    def __init__(self, start: NoiseSchedule = LinearSchedule()):
        t = start.steps()
        betas = start.beta(t, t - 1)
        super().__init__(betas)
        if not ((betas > 0) & (betas < 1)).all():
            raise ConfigError(
                f"start: {type(start).__name__} has a beta of 0 or 1, from which none is learned; write a schedule "
                "whose every beta lies inside (0, 1)"
            )
        self.logits = nn.Parameter(betas[1:].logit().float())

    @property
    def table(self) -> Tensor:
        """log alpha_bar_0..alpha_bar_T as they are now: (T+1,) float64 on the CPU."""
        return self._now().detach().cpu()

    def log_alpha_bar(self, t: Tensor) -> Tensor:
        """log alpha_bar_t, with a gradient."""
        t = self.beside_table(t)
        return self._now().to(t.device)[t]

    def _now(self) -> Tensor:
        logits = self.logits.cpu() if self.logits.device.type == "mps" else self.logits
        fixed = super().table[:2].to(logits.device)  # log alpha_bar_0 and log alpha_bar_1
        return torch.cat([fixed, fixed[1] + logsigmoid(-logits.double()).cumsum(0)])
