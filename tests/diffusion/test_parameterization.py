"""What the network predicts: each target inverts, and all lead to the same reverse step."""

import pytest
import torch

from lit_diffusion.diffusion import (
    Attractor,
    CleanImage,
    ConstantSchedule,
    Epsilon,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    JSDSchedule,
    LinearSchedule,
    PosteriorMean,
    SigmoidVariance,
    Velocity,
)
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.errors import ConfigError

KINDS = [PosteriorMean, CleanImage, Epsilon, Velocity]
BETAS = [0.05, 0.2, 0.4, 0.7]
ALL = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def process_of(betas) -> GaussianProcess:
    return GaussianProcess(NoiseSchedule(torch.tensor(betas, dtype=torch.float64)))


@pytest.fixture
def draw(to_steps):
    """Returns x_0, eps and x_t, (5, 1, 2, 2) float64, for a process and a step."""

    def make(process, t):
        x_0, eps = torch.rand(5, 1, 2, 2).double() * 2 - 1, torch.randn(5, 1, 2, 2).double()
        return x_0, eps, process.marginal(x_0, *to_steps(5, t)).rsample(eps)

    return make


@ALL
@pytest.mark.parametrize("t", range(1, 5))
def test_target_is_that_of_the_papers(kind, t, draw, table, target_of, to_steps):
    """mu~, x_0, eps and sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0."""
    process = process_of(BETAS)
    x_0, eps, x_t = draw(process, t)
    target = kind().target(process, x_0, x_t, eps, *to_steps(5, t))
    torch.testing.assert_close(target, target_of(table(BETAS), kind, x_0, x_t, t))


@ALL
@pytest.mark.parametrize("t", range(1, 5))
def test_x_0_and_eps_follow_from_the_target(kind, t, draw, to_steps):
    """to_x_0(target) = x_0 and to_eps(target) = eps."""
    process, (t,) = process_of(BETAS), to_steps(5, t)
    x_0, eps, x_t = draw(process, int(t[0]))
    target = kind().target(process, x_0, x_t, eps, t)
    torch.testing.assert_close(kind().to_x_0(process, target, x_t, t), x_0)
    torch.testing.assert_close(kind().to_eps(process, target, x_t, t), eps)


@pytest.mark.parametrize("kind", [PosteriorMean, CleanImage, Velocity], ids=lambda kind: kind.__name__)
def test_targets_invert_where_all_signal_is_gone(kind, draw, to_steps):
    """The last step of jsd, alpha_bar_T = 0: x_0 still follows from all targets but eps."""
    process = GaussianProcess(JSDSchedule(4))
    x_0, eps, x_t = draw(process, 4)
    target = kind().target(process, x_0, x_t, eps, *to_steps(5, 4))
    torch.testing.assert_close(kind().to_x_0(process, target, x_t, *to_steps(5, 4)), x_0)


@pytest.mark.parametrize("kind", [CleanImage, Epsilon, Velocity], ids=lambda kind: kind.__name__)
def test_targets_invert_before_the_first_noise(kind, draw, to_steps):
    """beta_1 = 0: x_1 = x_0, and x_0 follows from all targets but mu~."""
    process = process_of([0.0, 0.3])
    x_0, eps, x_t = draw(process, 1)
    target = kind().target(process, x_0, x_t, eps, *to_steps(5, 1))
    torch.testing.assert_close(kind().to_x_0(process, target, x_t, *to_steps(5, 1)), x_0)


@ALL
@pytest.mark.parametrize("t", [1, 2, 10, 100, 999, 1000])
def test_float32_costs_no_more_than_the_target_s_own_rounding(kind, t, draw, to_steps):
    """On the linear schedule x_0 comes back from a float32 target within 8 eps / sqrt(sensitivity)."""
    process = GaussianProcess(LinearSchedule(1000))
    x_0, eps, x_t = (v.float() for v in draw(process, t))
    (t,) = to_steps(5, t)
    back = kind().to_x_0(process, kind().target(process, x_0, x_t, eps, t), x_t, t)
    scale = float(kind().sensitivity(process, t)[0].clamp(max=1) ** 0.5)
    assert (back - x_0).abs().max() < 8 * torch.finfo(torch.float32).eps * 4 / scale


@ALL
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("t", "s"), [(t, s) for t in range(1, 5) for s in range(t)])
def test_all_parameterizations_give_the_same_reverse_step_for_the_same_x_0(kind, clip, t, s, oracle, table, to_steps):
    """The posterior of the predicted x_0, clipped if asked; of mu~ the clip touches the reported x_0 only."""
    reverse = oracle(BETAS, kind, lambda x, t: 0.9 * x + 0.1 * t, clip_x_0=True)  # many values outside [-1, 1]
    x_t = 2 * torch.randn(5, 1, 2, 2).double()
    prediction = reverse.predict(x_t, *to_steps(5, t), clip=clip)
    unclipped = 0.9 * x_t + 0.1 * t
    reported = unclipped.clamp(-1, 1) if clip else unclipped
    assert (unclipped.abs() > 1).any()
    c_0, c_t, variance = (float(v) for v in table(BETAS).posterior(t, s))
    mean = c_0 * (unclipped if kind is PosteriorMean else reported) + c_t * x_t
    step = prediction.transition(*to_steps(5, s))
    torch.testing.assert_close(prediction.x_0, reported)
    torch.testing.assert_close(step.mean, mean)
    if s:
        torch.testing.assert_close(step.variance, torch.full((5, 1, 1, 1), variance).double())


@ALL
@pytest.mark.parametrize("clip", [False, True])
def test_reported_eps_leads_from_the_reported_x_0_to_x_t(kind, clip, oracle, table, to_steps):
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps, clipped or not."""
    reverse = oracle(BETAS, kind, lambda x, t: 0.9 * x + 0.1 * t, clip_x_0=True)
    x_t = 2 * torch.randn(5, 1, 2, 2).double()
    prediction = reverse.predict(x_t, *to_steps(5, 3), clip=clip)
    alpha_bar, sigma2 = float(table(BETAS).alpha_bar[3]), float(table(BETAS).sigma2[3])
    torch.testing.assert_close(alpha_bar**0.5 * prediction.x_0 + sigma2**0.5 * prediction.eps, x_t)


@ALL
@pytest.mark.parametrize("t", range(1, 5))
def test_sensitivity_is_the_ratio_of_squared_errors(kind, t, draw, table, target_of, to_steps):
    """Two clean images that explain the same x_t: squared distance of their targets over their own."""
    process, reference = process_of(BETAS), table(BETAS)
    x_0, _, x_t = draw(process, t)
    other = x_0 + 0.1 * torch.randn_like(x_0)
    targets = (target_of(reference, kind, x, x_t, t) for x in (x_0, other))
    ratio = ((next(targets) - next(targets)) ** 2).sum() / ((x_0 - other) ** 2).sum()
    sensitivity = kind().sensitivity(process, *to_steps(5, t))
    torch.testing.assert_close(sensitivity, ratio.expand(5), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("kind", "schedule", "words"),
    [
        (Epsilon, JSDSchedule(7), ["Epsilon", "step 7", "JSDSchedule", "alpha_bar is 0", "CleanImage"]),
        (Epsilon, ConstantSchedule(1000, 0.2), ["Epsilon", "ConstantSchedule", "alpha_bar is 1e-38"]),
        (PosteriorMean, NoiseSchedule(torch.tensor([0.1, 0.0])), ["PosteriorMean", "step 2", "beta is 0", "Velocity"]),
        (PosteriorMean, NoiseSchedule(torch.tensor([1.0, 0.5])), ["PosteriorMean", "step 2", "no signal is left"]),
    ],
    ids=["eps with jsd", "eps where x_0 overflows", "mu~ with beta = 0", "mu~ after beta = 1"],
)
def test_a_prediction_that_does_not_determine_x_0_is_refused_by_name(kind, schedule, words, oracle):
    """One line that names the class, the step, the reason and what to use instead."""
    betas = schedule.beta(schedule.steps(), schedule.steps() - 1).numpy()
    with pytest.raises(ConfigError) as error:
        oracle(betas, kind, lambda x, t: x)
    with pytest.raises(ConfigError) as error:
        kind().check(GaussianProcess(schedule))
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("kind", [CleanImage, Velocity], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("betas", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0, 0.0]], ids=str)
def test_clean_image_and_velocity_take_any_schedule(kind, betas, to_steps):
    """Their predictions determine x_0 at every step: with all betas 0, x_0 = x_t for velocity."""
    process = process_of(betas)
    kind().check(process)
    x_0, eps = torch.rand(2, 1).double(), torch.randn(2, 1).double()
    for t in to_steps(2, *range(1, len(betas) + 1)):
        x_t = process.marginal(x_0, t).rsample(eps)
        torch.testing.assert_close(kind().to_x_0(process, kind().target(process, x_0, x_t, eps, t), x_t, t), x_0)


def test_epsilon_is_accepted_as_long_as_float32_can_hold_the_x_0_it_stands_for(to_steps):
    """Whatever `check` lets pass leads to finite numbers: alpha_bar_T down to 1.2e-38."""
    process = GaussianProcess(ConstantSchedule(391, 0.2))
    Epsilon().check(process)
    with pytest.raises(ConfigError):
        Epsilon().check(GaussianProcess(ConstantSchedule(392, 0.2)))
    x_0 = Epsilon().to_x_0(process, torch.full((1, 1), -1.0), torch.full((1, 1), 5.0), *to_steps(1, 391))
    assert x_0.isfinite().all() and (x_0 / 10).square().isfinite().all()


def test_the_2015_readouts_are_their_formulas():
    """mu = (x_t - z_mu) (1 - Sigma) + z_mu and Sigma = sigmoid(z_Sigma + logit beta_t), appendix D.2.1 of 2015."""
    process = GaussianProcess(LinearSchedule(20, 0.01, 0.3))
    x_t, t = torch.randn(5, 2, dtype=torch.float64), torch.tensor([2, 3, 7, 12, 20])
    z = torch.randn(5, 4, dtype=torch.float64)

    class Given(torch.nn.Module):
        def forward(self, x, index):
            return z

    reverse = GaussianReverse(
        process, lambda i, o: Given(), Attractor(), SigmoidVariance(), GaussianDensity(), channels=2, clip_x_0=False
    )
    p = reverse.predict(x_t, t).transition(t - 1)
    beta = process.schedule.beta(t, t - 1)[:, None]
    sigma = torch.sigmoid(z[:, 2:] + beta.logit())
    torch.testing.assert_close(p.variance, sigma)
    torch.testing.assert_close(p.mean, (x_t - z[:, :2]) * (1 - sigma) + z[:, :2])
