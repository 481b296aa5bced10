"""A noise schedule that is trained with the model (Sohl-Dickstein et al. 2015, section 2.4.1)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from lit_diffusion.diffusion.schedule import LinearSchedule, NoiseSchedule
from lit_diffusion.errors import ConfigError


class LearnedSchedule(NoiseSchedule):
    """beta_2..beta_T are learned by gradient through x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps. beta_1
    is fixed: otherwise the bound on real values would be unbounded.

    start: the initial schedule, with every beta inside (0, 1). They stay inside, as sigmoids of the parameters, so
    alpha_bar falls with every step. L_T depends on the parameters, and objectives add it to the loss.
    """

    learned = True

    def __init__(self, start: NoiseSchedule = LinearSchedule()):
        t = start.steps()
        betas = start.beta(t, t - 1)
        super().__init__(betas)
        if not ((betas > 0) & (betas < 1)).all():
            raise ConfigError(
                f"start: expected a schedule with every beta inside (0, 1), got {type(start).__name__}, which has a "
                "beta of 0 or 1; use LinearSchedule"
            )
        self.logits = nn.Parameter(betas[1:].logit().float())

    @property
    def table(self) -> Tensor:
        """log alpha_bar_0..alpha_bar_T as currently learned: (T+1,) float64 on the CPU."""
        return self._compute_table().detach().cpu()

    def log_alpha_bar(self, t: Tensor | int) -> Tensor:
        """log alpha_bar_t, with a gradient."""
        t = self.to_table_device(t)
        return self._compute_table().to(t.device)[t]

    def _compute_table(self) -> Tensor:
        logits = self.logits.cpu() if self.logits.device.type == "mps" else self.logits
        fixed = super().log_alpha_bar(torch.arange(2, device=logits.device))  # log alpha_bar_0 and log alpha_bar_1
        return torch.cat([fixed, fixed[1] + logsigmoid(-logits.double()).cumsum(0)])
