"""The network of the 2015 swiss roll: normalised radial basis functions."""

import torch
from torch import Tensor, nn

from lit_diffusion.nn.checks import check_positive
from lit_diffusion.nn.readout import StepReadout
from lit_diffusion.nn.shapes import check_vector, read_steps


class RadialBasisNetwork(nn.Module):
    """W_t phi(x) + b_t: `network(x, t)` is (B, out_channels) for x (B, in_channels) and integer t (B,).

    phi_k(x) = exp(-|x - c_k|^2 / 2 s_k^2) / sum_j exp(-|x - c_j|^2 / 2 s_j^2): between centres the network goes from
    one's value to another's, and far from all it is constant. Centres c_k, widths s_k and the readout of each step are
    learned  (Sohl-Dickstein et al. 2015, appendix D.1). Centres start as standard normal, like the data, of unit
    variance; widths start at 1; a fresh network returns zero.

    Args:
        in_channels: Dimensions of the vector; given by the reverse model.
        out_channels: Dimensions of the prediction; given by the reverse model.
        num_steps: T of the process.
        num_units: Number of basis functions; 16 in the paper.

    Raises:
        ConfigError: An option that is not positive.
    """

    def __init__(self, in_channels: int, out_channels: int, num_steps: int, num_units: int = 16) -> None:
        super().__init__()
        check_positive("RadialBasisNetwork", num_steps=num_steps, num_units=num_units)
        self.in_channels = in_channels
        self.num_steps = num_steps
        self.centres = nn.Parameter(torch.randn(num_units, in_channels))
        self.log_widths = nn.Parameter(torch.zeros(num_units))
        self.readout = StepReadout(num_units, out_channels, num_steps)

    def check_image_shape(self, shape: tuple[int, ...]) -> None:
        """Raises ConfigError unless the network takes vectors of `shape` (D,)."""
        check_vector("RadialBasisNetwork", self.in_channels, shape)

    def basis(self, x: Tensor) -> Tensor:
        """phi(x): (B, num_units), each row sums to 1, for x (B, in_channels)."""
        distances = (x[:, None] - self.centres).square().sum(2)  # (B, num_units)
        return (-distances * (-2 * self.log_widths).exp() / 2).softmax(1)

    def forward(self, x: Tensor, t: Tensor | int) -> Tensor:
        t = read_steps(self, x, t)
        return self.readout(self.basis(x), t)
