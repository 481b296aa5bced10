"""A schedule that is learned by the bound, and nothing else."""

import pytest
import torch
from torch import nn

from lit_diffusion.diffusion import (
    BernoulliReverse,
    BinomialProcess,
    CleanImage,
    ConstantSchedule,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    Hybrid,
    ImportanceSampled,
    JSDSchedule,
    LearnedDiagonal,
    LearnedSchedule,
    LinearSchedule,
    LogSNRSchedule,
    Simple,
    VariationalBound,
)
from lit_diffusion.diffusion.bound import variational_bound
from lit_diffusion.errors import ConfigError


class Linear(nn.Module):
    """A network of two numbers."""

    def __init__(self, outputs: int):
        super().__init__()
        self.outputs = outputs
        self.weight = nn.Parameter(torch.tensor([0.3, -1.0], dtype=torch.float64))

    def forward(self, x, index):
        return torch.cat([self.weight[0] * x, 0 * x + self.weight[1]], dim=1)[:, : self.outputs]


def reverse_of(schedule, variance=None) -> GaussianReverse:
    return GaussianReverse(
        GaussianProcess(schedule),
        lambda inputs, outputs: Linear(outputs),
        CleanImage(),
        variance or LearnedDiagonal(),
        GaussianDensity(),
        channels=2,
        clip_x_0=False,
    )


def test_it_begins_as_the_schedule_that_it_is_given():
    """All tables, to float32's precision of what is learned; beta_1 exactly."""
    start, t = LogSNRSchedule(12, 1e-3, 10.0), torch.arange(13)
    learned = LearnedSchedule(start)
    torch.testing.assert_close(learned.log_alpha_bar(t), start.log_alpha_bar(t), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(learned.table, start.table, rtol=1e-6, atol=1e-7)
    assert learned.log_alpha_bar(t)[1] == start.log_alpha_bar(t)[1]


def test_alpha_bar_falls_and_betas_stay_inside_whatever_is_learned():
    """Extreme values of what is learned, far beyond what training reaches."""
    learned = LearnedSchedule(LinearSchedule(20))
    with torch.no_grad():
        learned.logits.copy_(torch.linspace(-30, 30, 19))
    t = torch.arange(1, 21)
    beta = learned.beta(t, t - 1)
    assert ((beta > 0) & (beta <= 1)).all() and beta[1:-1].lt(1).all()
    assert (learned.log_alpha_bar(t).diff() < 0).all()


def test_gradients_are_those_of_finite_differences_through_the_reparameterised_chain():
    """Of the whole loss, L_T included, with steps and noise held: x_t, posteriors and variances move with beta."""
    torch.manual_seed(0)
    schedule = LearnedSchedule(LogSNRSchedule(4, 1e-2, 5.0)).double()
    reverse, x_0 = reverse_of(schedule), torch.randn(6, 2, dtype=torch.float64)
    objective = VariationalBound(scale="times_T")
    objective.bind(reverse)
    drawn = objective.draw(reverse, x_0)
    schedule.logits.data += 0.1 * torch.randn(3)
    objective(reverse, x_0, drawn).mean().backward()
    gradient, h = schedule.logits.grad.clone(), 1e-5
    for i in range(3):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                schedule.logits[i] += sign * h
                values.append(objective(reverse, x_0, drawn).mean())
                schedule.logits[i] -= sign * h
        torch.testing.assert_close((values[0] - values[1]) / (2 * h), gradient[i], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", ["per_term", "times_T"])
def test_the_loss_is_the_whole_bound_with_its_prior(scale):
    """Over all steps its mean is L, the term of the prior included; for a fixed schedule L_T is left out."""
    torch.manual_seed(0)
    x_0, start = torch.randn(50, 2, dtype=torch.float64), LogSNRSchedule(3, 0.1, 0.5)
    totals = {}
    for name, schedule in (("learned", LearnedSchedule(start)), ("fixed", start)):
        reverse = reverse_of(schedule)
        objective = VariationalBound(scale=scale)
        objective.bind(reverse)
        with torch.no_grad():
            totals[name] = torch.stack([objective(reverse, x_0).mean() for _ in range(2000)]).mean()
    bound = variational_bound(reverse_of(start), x_0)
    unit = x_0.shape[1] * torch.tensor(2.0).log() * (3 if scale == "per_term" else 1)
    torch.testing.assert_close(totals["learned"] - totals["fixed"], bound.prior_kl.mean() / unit, rtol=0.05, atol=0.01)


def test_learning_lowers_the_bound():
    """From a constant schedule, with the network held, gradient steps on beta alone."""
    torch.manual_seed(0)
    x_0 = 0.5 * torch.randn(400, 2, dtype=torch.float64)
    schedule = LearnedSchedule(ConstantSchedule(10, 0.3))
    reverse = reverse_of(schedule)
    objective = VariationalBound(scale="times_T", frozen_noise=True)
    objective.bind(reverse)
    optimizer = torch.optim.Adam(schedule.parameters(), 0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = objective(reverse, x_0).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1 and losses[:30] == sorted(losses[:30], reverse=True)  # frozen noise


def test_frozen_noise_is_the_same_for_every_batch_and_touches_no_generator():
    """And without it every batch has its own."""
    reverse, x_0 = reverse_of(LinearSchedule(10)), torch.randn(4, 2, dtype=torch.float64)
    for frozen in (True, False):
        objective = VariationalBound(frozen_noise=frozen)
        objective.bind(reverse)
        state = torch.get_rng_state()
        first, second = objective(reverse, x_0), objective(reverse, x_0)
        assert torch.equal(first, second) is frozen
        assert torch.equal(torch.get_rng_state(), state) is frozen


def binomial():
    process = BinomialProcess(LearnedSchedule(LinearSchedule(5)))
    return BernoulliReverse(process, lambda inputs, outputs: Linear(2), channels=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Simple().bind(reverse_of(LearnedSchedule())),
            "which alone can train LearnedSchedule, got Simple",
        ),
        (lambda: Hybrid().bind(reverse_of(LearnedSchedule())), "which alone can train LearnedSchedule, got Hybrid"),
        (
            lambda: VariationalBound(ImportanceSampled()).bind(reverse_of(LearnedSchedule())),
            "without a memory of losses, .*, got ImportanceSampled",
        ),
        (
            lambda: VariationalBound().bind(binomial()),
            "got BernoulliReverse; use VariationalBound with GaussianReverse",
        ),
        (
            lambda: LearnedSchedule(JSDSchedule(5)),
            r"start: expected a schedule with every beta inside \(0, 1\), got JSDSchedule",
        ),
        (lambda: LogSNRSchedule(5, 2.0, 1.0), "0 < first_noise <= last_noise for LogSNRSchedule, got 2 and 1"),
    ],
)
def test_what_would_exploit_it_is_refused(make, message):
    """In one line that says what to write."""
    with pytest.raises(ConfigError, match=message):
        make()
