"""What the two networks of a GAN minimise, and what the discriminator's loss says about the divergence."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

LOG_2 = math.log(2)


class AdversarialLoss(ABC):
    """Losses per example, of the discriminator's output h(x) (B,): positive where it takes x for real.

    For a fixed generator, the least loss of the discriminator is a divergence of p_data and p_g; any other
    discriminator gives a lower bound of it, in expectation.
    """

    @abstractmethod
    def of_real(self, h: Tensor) -> Tensor:
        """The discriminator's loss of real examples."""

    @abstractmethod
    def of_generated(self, h: Tensor) -> Tensor:
        """The discriminator's loss of generated examples."""

    @abstractmethod
    def of_generator(self, h: Tensor) -> Tensor:
        """The generator's loss of its examples."""

    @abstractmethod
    def jensen_shannon(self, loss: Tensor) -> Tensor:
        """A lower bound of JS(p_data, p_g) in nats, in [0, log 2], from the discriminator's loss: the mean over real
        examples plus the mean over generated ones. A negative bound counts as 0, which says as much.
        """


class NonSaturating(AdversarialLoss):
    """D(x) = sigmoid(h(x)) maximises E log D(x) + E log(1 - D(G(z))), and G maximises E log D(G(z)), in nats
    (Goodfellow et al. 2014, eq. 1 and section 3).

    The best D is p_data / (p_data + p_g), whose value is 2 JS(p_data, p_g) - 2 log 2.
    """

    def of_real(self, h: Tensor) -> Tensor:
        return softplus(-h)

    def of_generated(self, h: Tensor) -> Tensor:
        return softplus(h)

    def of_generator(self, h: Tensor) -> Tensor:
        return softplus(-h)

    def jensen_shannon(self, loss: Tensor) -> Tensor:
        return relu(LOG_2 - loss / 2)


class Hinge(AdversarialLoss):
    """D minimises E max(0, 1 - h(x)) + E max(0, 1 + h(G(z))), and G maximises E h(G(z))  (Miyato et al. 2018, eq. 17).

    The best h is the sign of p_data - p_g, whose loss is 2 - 2 TV(p_data, p_g), with the total variation TV in [0, 1].
    A classifier that errs at a rate of e = (1 - TV) / 2 shows that JS is at least log 2 - H(e), H the entropy of a coin
    (Fano's inequality).
    """

    def of_real(self, h: Tensor) -> Tensor:
        return relu(1 - h)

    def of_generated(self, h: Tensor) -> Tensor:
        return relu(1 + h)

    def of_generator(self, h: Tensor) -> Tensor:
        return -h

    def jensen_shannon(self, loss: Tensor) -> Tensor:
        error = (loss / 4).clamp(0, 0.5)
        return LOG_2 + torch.xlogy(error, error) + torch.xlogy(1 - error, 1 - error)


def squared_gradient(h: Tensor, x: Tensor) -> Tensor:
    """|grad_x h(x)|^2 of each example, (B,), for outputs h (B,) of x (B, *), each a function of its own example.

    Half of its mean over real examples, times a weight, is the penalty R1  (Mescheder et al. 2018, eq. 9). Can be
    differentiated.
    """
    (gradient,) = torch.autograd.grad(h.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1)
