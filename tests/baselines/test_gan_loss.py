"""What a discriminator's loss measures, by quadrature and in closed form."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from lit_diffusion.baselines import AdversarialLoss, Hinge, NonSaturating
from lit_diffusion.baselines.gan_loss import squared_gradient

DATA, MODEL = Normal(0.0, 1.0), Normal(1.5, 0.6)  # the real and the generated examples
GRID = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
LOG_2 = math.log(2)


def integral(values: Tensor) -> float:
    return torch.trapezoid(values, GRID).item()


def density(of: Normal) -> Tensor:
    return Normal(*(torch.as_tensor(v, dtype=torch.float64) for v in (of.loc, of.scale))).log_prob(GRID).exp()


def jensen_shannon(one: Normal, other: Normal) -> float:
    """By quadrature, in nats."""
    p, q = density(one), density(other)
    middle = (p + q) / 2
    return integral(torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle)) / 2


def judged(loss: AdversarialLoss, h: Tensor, one: Normal, other: Normal) -> tuple[Tensor, Tensor]:
    """The loss and the rate of errors of a discriminator with outputs h on the grid, by quadrature."""
    p, q = density(one), density(other)
    errors = integral(p * (h <= 0) + q * (h >= 0)) / 2
    return torch.tensor(integral(p * loss.of_real(h) + q * loss.of_generated(h))), torch.tensor(errors)


def dense(dimensions: int, width: int, depth: int) -> nn.Sequential:
    sizes = [dimensions, *[width] * depth]
    hidden = [layer for i, o in zip(sizes, sizes[1:]) for layer in (nn.Linear(i, o), nn.LeakyReLU(0.1))]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], 1), nn.Flatten(0))


def trained(loss: AdversarialLoss, one: Normal, other: Normal) -> nn.Module:
    torch.manual_seed(0)
    network, steps = dense(1, 32, 2), 600
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(steps):
        h = network(torch.cat([one.sample((1024, 1)), other.sample((1024, 1))]))
        value = loss.of_real(h[:1024]).mean() + loss.of_generated(h[1024:]).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        decay.step()
    return network


@pytest.mark.parametrize("other", [MODEL, DATA], ids=["another distribution", "the data's"])
def test_a_trained_discriminators_value_is_2_js_minus_2_log_2(other):
    """Goodfellow et al. 2014, theorem 1; -2 log 2 where the generator's distribution is the data's."""
    loss = NonSaturating()
    h = trained(loss, DATA, other)(GRID.float()[:, None]).detach().double()
    divergence = jensen_shannon(DATA, other)
    found, error = judged(loss, h, DATA, other)
    assert -found.item() == pytest.approx(2 * divergence - 2 * LOG_2, abs=0.01)
    assert loss.jensen_shannon(found, error).item() == pytest.approx(divergence, abs=0.005)
    if other is DATA:
        assert -found.item() == pytest.approx(-2 * LOG_2, abs=0.01)


def test_the_best_discriminator_has_exactly_that_value_and_others_less():
    """D = p_data / (p_data + p_g), and a discriminator that is slightly off on either side."""
    loss = NonSaturating()
    best = (density(DATA).log() - density(MODEL).log()).clamp(-600, 600)
    divergence = jensen_shannon(DATA, MODEL)
    assert loss.jensen_shannon(*judged(loss, best, DATA, MODEL)).item() == pytest.approx(divergence, abs=1e-6)
    for other in (best + 0.1, best - 0.1, 0.9 * best, 1.1 * best):
        assert loss.jensen_shannon(*judged(loss, other, DATA, MODEL)).item() < divergence - 1e-4


def test_a_trained_hinge_is_2_minus_twice_the_total_variation():
    """The best h is the sign of p_data - p_g, and what it says about JS is true."""
    loss = Hinge()
    h = trained(loss, DATA, MODEL)(GRID.float()[:, None]).detach().double()
    found, error = judged(loss, h, DATA, MODEL)
    variation = integral((density(DATA) - density(MODEL)).abs()) / 2
    rate = (1 - variation) / 2
    assert found.item() == pytest.approx(2 - 2 * variation, abs=0.02)
    assert error.item() == pytest.approx(rate, abs=0.005)
    bound = LOG_2 + rate * math.log(rate) + (1 - rate) * math.log(1 - rate)
    assert loss.jensen_shannon(found, error).item() == pytest.approx(bound, abs=0.01)
    assert bound < jensen_shannon(DATA, MODEL)


def test_the_bound_of_js_by_hinge_is_attained_by_two_coins():
    """p = (0.9, 0.1) and q = (0.1, 0.9): nothing more is known of an example than which side it is on."""
    js = LOG_2 + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    assert Hinge().jensen_shannon(torch.tensor(0.4), torch.tensor(0.1)).item() == pytest.approx(js, abs=1e-6)


@pytest.mark.parametrize("loss", [NonSaturating(), Hinge()], ids=lambda loss: type(loss).__name__)
def test_js_is_between_0_and_log_2(loss):
    """0 for a discriminator that knows nothing or errs more than that, log 2 for one that errs never."""
    nothing = loss.of_real(torch.zeros(())) + loss.of_generated(torch.zeros(()))
    assert nothing.item() == pytest.approx(loss.ignorance)
    assert loss.jensen_shannon(nothing, torch.tensor(0.5)).item() == pytest.approx(0, abs=1e-7)
    assert loss.jensen_shannon(2 * nothing, torch.tensor(0.9)).item() == pytest.approx(0, abs=1e-7)
    assert loss.jensen_shannon(torch.zeros(()), torch.zeros(())).item() == pytest.approx(LOG_2)


def test_losses_are_their_closed_forms():
    h = torch.tensor([-40.0, -1.5, 0.0, 0.4, 1.0, 3.0], dtype=torch.float64)
    d = h.sigmoid()
    goodfellow, hinge = NonSaturating(), Hinge()
    torch.testing.assert_close(goodfellow.of_real(h), -d.log())
    torch.testing.assert_close(goodfellow.of_generated(h), -(1 - d).log())
    torch.testing.assert_close(goodfellow.of_generator(h), -d.log())
    torch.testing.assert_close(hinge.of_real(h), torch.tensor([41, 2.5, 1, 0.6, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(hinge.of_generated(h), torch.tensor([0, 0, 1, 1.4, 2, 4], dtype=torch.float64))
    torch.testing.assert_close(hinge.of_generator(h), -h)


def test_r1_and_its_gradient_are_those_found_by_hand():
    """h(x) = v . tanh(W x): grad_x h = W^T (v (1 - tanh^2)), and d/dv |grad_x h|^2 = 2 (1 - tanh^2) (W grad_x h)."""
    torch.manual_seed(0)
    w, v, x = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((4, 3), (4,), (5, 3)))
    inner = torch.tanh(x @ w.T)
    penalty = squared_gradient(inner @ v, x)
    slope = (1 - inner**2).detach()
    gradient = (v * slope) @ w  # (5, 3)
    torch.testing.assert_close(penalty, gradient.square().sum(1))
    (by_v,) = torch.autograd.grad(penalty.sum(), v)
    torch.testing.assert_close(by_v, (2 * slope * (gradient @ w.T)).sum(0))


def test_r1_leaves_the_gradient_of_the_rest_of_the_loss():
    """One evaluation serves both, as in a training step."""
    torch.manual_seed(0)
    network, x = dense(2, 8, 1), torch.randn(6, 2, requires_grad=True)
    h = network(x)
    total = NonSaturating().of_real(h).mean() + 5 * squared_gradient(h, x).mean() / 2
    got = torch.autograd.grad(total, [*network.parameters()])
    apart = torch.autograd.grad(NonSaturating().of_real(network(x)).mean(), [*network.parameters()])
    h = network(x)
    alone = torch.autograd.grad(squared_gradient(h, x).mean(), [*network.parameters()], allow_unused=True)
    for whole, one, other in zip(got, apart, alone, strict=True):
        torch.testing.assert_close(whole, one + (0 if other is None else 2.5 * other))
