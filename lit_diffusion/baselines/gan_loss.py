"""What the two networks of a GAN minimise, and what the discriminator's loss says about the divergence."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

LOG_2 = math.log(2)


class AdversarialLoss(ABC):
    """Losses per example, of the discriminator's output h(x) (B,): positive where it takes x for real.

    The discriminator's loss is its mean over real examples plus its mean over generated ones. For a fixed generator its
    minimum is a divergence of p_data and p_g, of which any other discriminator shows a part. ignorance: the loss of
    h = 0.
    """

    ignorance: float

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
    def jensen_shannon(self, loss: Tensor, error: Tensor) -> Tensor:
        """A lower bound of JS(p_data, p_g) in nats, in [0, log 2], from the discriminator's loss and its rate of
        errors, the mean of the rates for real and generated examples. A bound below 0 becomes 0, which is as true.
        """


class NonSaturating(AdversarialLoss):
    """D(x) = sigmoid(h(x)) maximises E log D(x) + E log(1 - D(G(z))), and G maximises E log D(G(z)), in nats
    (Goodfellow et al. 2014, eq. 1 and section 3).

    The best D is p_data / (p_data + p_g), whose value, the negative loss, is 2 JS(p_data, p_g) - 2 log 2.
    """

    ignorance = 2 * LOG_2

    def of_real(self, h: Tensor) -> Tensor:
        return softplus(-h)

    def of_generated(self, h: Tensor) -> Tensor:
        return softplus(h)

    def of_generator(self, h: Tensor) -> Tensor:
        return softplus(-h)

    def jensen_shannon(self, loss: Tensor, error: Tensor) -> Tensor:
        return relu(LOG_2 - loss / 2)


class Hinge(AdversarialLoss):
    """D minimises E max(0, 1 - h(x)) + E max(0, 1 + h(G(z))), and G maximises E h(G(z))  (Miyato et al. 2018, eq. 17).

    The best h is the sign of p_data - p_g, whose loss is 2 - 2 TV(p_data, p_g), with the total variation TV in [0, 1],
    and whose rate of errors is (1 - TV) / 2. One that errs at a rate of e shows that JS is at least log 2 - H(e), where
    H is the entropy of a coin (Fano's inequality); unlike the loss, the rate does not depend on the scale of h, which
    spectral normalisation limits.
    """

    ignorance = 2.0

    def of_real(self, h: Tensor) -> Tensor:
        return relu(1 - h)

    def of_generated(self, h: Tensor) -> Tensor:
        return relu(1 + h)

    def of_generator(self, h: Tensor) -> Tensor:
        return -h

    def jensen_shannon(self, loss: Tensor, error: Tensor) -> Tensor:
        error = error.clamp(0, 0.5)
        return LOG_2 + torch.xlogy(error, error) + torch.xlogy(1 - error, 1 - error)


def squared_gradient(h: Tensor, x: Tensor) -> Tensor:
    """|grad_x h(x)|^2 of each example, (B,), for outputs h (B,) of x (B, *), each a function of its own example.

    Half of its mean over real examples, times a weight, is the penalty R1  (Mescheder et al. 2018, eq. 9). Can be
    differentiated.
    """
    (gradient,) = torch.autograd.grad(h.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1)
