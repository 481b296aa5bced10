"""The training objectives: what they compute, where their gradients go, and what they refuse."""

import math

import pytest
import torch

from lit_diffusion.diffusion import (
    AllTimesteps,
    BetaVariance,
    BoundWeight,
    CleanImage,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    Hybrid,
    ImportanceSampled,
    LearnedDiagonal,
    LearnedRange,
    LowDiscrepancy,
    MinSNR,
    PosteriorMean,
    PosteriorVariance,
    Simple,
    VariationalBound,
    Velocity,
)
from lit_diffusion.diffusion.bound import bits_per_dim, bound_term, prior_kl, variational_bound
from lit_diffusion.diffusion.decoder import DiscretizedGaussian
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.diffusion.timesteps import Draw, Timesteps
from lit_diffusion.errors import ConfigError

BETAS = [0.02, 0.1, 0.3, 0.25, 0.6]
KINDS = pytest.mark.parametrize("kind", [PosteriorMean, CleanImage, Epsilon, Velocity], ids=lambda kind: kind.__name__)
LEARNED = pytest.mark.parametrize("variance", [LearnedRange(), LearnedDiagonal()], ids=lambda v: type(v).__name__)


class Fixed(Timesteps):
    """The given steps and weights, and a record of the losses that it receives."""

    def __init__(self, t, weight):
        super().__init__()
        self.fixed, self.received = Draw(torch.tensor(t), torch.tensor(weight)), []

    def draw(self, batch_size, device):
        return self.fixed

    def update(self, t, loss):
        self.received.append((t, loss))


@pytest.fixture
def images():
    """Images of 9 levels, (4, 1, 2, 3) float64."""
    return torch.randint(0, 9, (4, 1, 2, 3)).double() / 4 - 1


@pytest.fixture
def reverse_with(small_network):
    """Returns a reverse model in float64 with a small bounded network."""

    def make(kind=Epsilon, variance=None, betas=BETAS):
        return GaussianReverse(
            GaussianProcess(NoiseSchedule(torch.tensor(betas, dtype=torch.float64))),
            small_network,
            kind(),
            PosteriorVariance() if variance is None else variance,
            DiscretizedGaussian(9),
            channels=1,
        ).double()

    return make


def bind(objective, reverse):
    objective.bind(reverse)
    return objective


def predict_all(reverse, x_0):
    """Every image at every step, image by image: predictions, images and noise, (B * T, *)."""
    images, eps = x_0.repeat_interleave(5, 0), torch.randn(20, 1, 2, 3, dtype=torch.float64)
    t = torch.arange(1, 6).repeat(4)
    return reverse.predict(reverse.process.marginal(images, t).rsample(eps), t), images, eps


@KINDS
def test_simple_is_the_mean_squared_error_on_the_network_s_own_target(kind, images, reverse_with, table, target_of):
    """|target - output|^2 over the number of dimensions, for t = 1..T, with the papers' targets."""
    reverse = reverse_with(kind)
    prediction, x_0, eps = predict_all(reverse, images)
    losses = bind(Simple(), reverse).loss(prediction, x_0, eps)
    for i in range(20):
        x_t, t = prediction.x_t[i : i + 1], i % 5 + 1
        target = target_of(table(BETAS), kind, x_0[i : i + 1], x_t, t)
        error = (target - reverse.network(x_t, torch.tensor([t - 1]))).flatten()
        assert losses[i].item() == pytest.approx((error @ error).item() / 6, rel=1e-9)


@KINDS
@pytest.mark.parametrize("variance", [BetaVariance(), PosteriorVariance()], ids=type)
def test_simple_with_the_bound_s_weight_is_the_bound(kind, variance, images, reverse_with, table):
    """L_{t-1} in nats per dimension for t >= 2, up to (r - 1 - log r) / 2 with r = beta~_t / sigma_t^2."""
    reverse, reference = reverse_with(kind, variance), table(BETAS)
    prediction, x_0, eps = predict_all(reverse, images)
    losses = bind(Simple(weighting=BoundWeight()), reverse).loss(prediction, x_0, eps)
    terms = bound_term(prediction, x_0)
    for i in range(20):
        t = i % 5 + 1
        if t > 1:
            small = float(reference.posterior(t, t - 1)[2])
            ratio = small / (BETAS[t - 1] if isinstance(variance, BetaVariance) else small)
            constant = (ratio - 1 - math.log(ratio)) / 2
            assert losses[i].item() + constant == pytest.approx(terms[i].item() / 6, rel=1e-8)


@KINDS
def test_min_snr_weighs_the_error_of_x_0_alike_for_every_prediction(kind, images, reverse_with, table):
    """The weighted loss is min(SNR, 5) times the mean squared error of the x_0 that the output stands for."""
    reverse, reference = reverse_with(kind), table(BETAS)
    prediction, x_0, eps = predict_all(reverse, images)
    losses = bind(Simple(weighting=MinSNR(5.0)), reverse).loss(prediction, x_0, eps)
    snr = torch.tensor([float(reference.alpha_bar[t] / reference.sigma2[t]) for t in range(1, 6)]).double()
    expected = snr.clamp(max=5).repeat(4) * ((prediction.x_0 - x_0) ** 2).flatten(1).mean(1)
    torch.testing.assert_close(losses, expected)


def test_images_meet_their_own_steps_and_weights(images, reverse_with):
    """Two steps an image, weights that differ: the loss of image i is sum_k weight_ik loss(x_i, t_ik)."""
    reverse, t, weight = reverse_with(), [[1, 5], [2, 2], [3, 1], [4, 4]], [[0.5, 2.0], [1.0, 0.0], [3.0, 1.0], [1, 1]]
    objective = bind(Simple(Fixed(t, weight)), reverse)
    torch.manual_seed(7)
    losses = objective(reverse, images)
    torch.manual_seed(7)
    eps = torch.randn(8, 1, 2, 3, dtype=torch.float64)
    for i in range(4):
        expected = 0
        for k in range(2):
            step, eps_k = torch.tensor([t[i][k]]), eps[2 * i + k][None]
            x_t = reverse.process.marginal(images[i : i + 1], step).rsample(eps_k)
            expected += weight[i][k] * ((eps_k - reverse.network(x_t, step - 1)) ** 2).mean()
        torch.testing.assert_close(losses[i], expected)


@pytest.mark.parametrize(
    ("objective", "variance"),
    [(Simple, PosteriorVariance()), (VariationalBound, BetaVariance()), (Hybrid, LearnedRange())],
    ids=["Simple", "VariationalBound", "Hybrid"],
)
def test_all_timesteps_is_the_average_over_explicit_steps(objective, variance, images, reverse_with):
    """The lectures' first algorithm: one number an image, the mean over t = 1..T of the loss at t."""
    reverse = reverse_with(variance=variance)
    together = bind(objective(AllTimesteps()), reverse)
    torch.manual_seed(3)
    losses = together(reverse, images)
    torch.manual_seed(3)
    each = together.loss(*predict_all(reverse, images))
    torch.testing.assert_close(losses, each.view(4, 5).mean(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("variance", [BetaVariance(), LearnedDiagonal(), LearnedRange()], ids=type)
@pytest.mark.parametrize("scale", ["per_term", "times_T"])
def test_mean_term_times_t_plus_prior_is_the_whole_bound(scale, variance, images, oracle):
    """In bits/dim. A prediction of x_0 that ignores x_t makes every term free of noise, so the two agree exactly."""
    second = (lambda x, t: torch.full_like(x, -0.1 * t)) if variance.learned else None
    reverse = oracle(BETAS, CleanImage, lambda x, t: torch.full_like(x, 0.1 * t - 0.3), variance, second, 9)
    mean = bind(VariationalBound(AllTimesteps(), scale), reverse)(reverse, images)
    whole = mean * (5 if scale == "per_term" else 1) + bits_per_dim(prior_kl(reverse, images), images)
    expected = bits_per_dim(variational_bound(reverse, images).total, images)
    torch.testing.assert_close(whole, expected, rtol=1e-6, atol=0)


@KINDS
def test_scales_of_the_bound_differ_by_t_and_one_term_is_in_bits_per_dim(kind, images, reverse_with):
    """per_term: the named term over D ln 2; times_T: T = 5 times that."""
    reverse = reverse_with(kind)
    prediction, x_0, eps = predict_all(reverse, images)
    one, five = (bind(VariationalBound(scale=s), reverse).loss(prediction, x_0, eps) for s in ("per_term", "times_T"))
    torch.testing.assert_close(one, bound_term(prediction, x_0) / (6 * math.log(2)))
    torch.testing.assert_close(five, 5 * one)


@KINDS
@LEARNED
def test_hybrid_trains_the_mean_by_simple_and_the_variance_by_the_bound(kind, variance, images, reverse_with):
    """Value: L_simple + 0.001 T term. Gradient: the mean's half has that of L_simple, the variance's that of L."""
    reverse = reverse_with(kind, variance)
    prediction, x_0, eps = predict_all(reverse, images)
    weights = reverse.network.conv.weight
    target = reverse.parameterization.target(reverse.process, x_0, prediction.x_t, eps, prediction.t)
    simple = ((target - prediction.output) ** 2).flatten(1).mean(1)
    bound = 0.001 * 5 * bound_term(prediction, x_0) / (6 * math.log(2))
    hybrid = bind(Hybrid(), reverse).loss(prediction, x_0, eps)
    torch.testing.assert_close(hybrid, simple + bound)
    of_simple, of_bound, of_hybrid = (
        torch.autograd.grad(loss.sum(), weights, retain_graph=True)[0] for loss in (simple, bound, hybrid)
    )
    torch.testing.assert_close(of_hybrid[:1], of_simple[:1])
    torch.testing.assert_close(of_hybrid[1:], of_bound[1:])
    assert (of_simple[1:] == 0).all() and (of_bound != 0).all()


def test_hybrid_s_weight_is_lambda(images, reverse_with):
    """Twice lambda adds the bound's part once more."""
    reverse = reverse_with(variance=LearnedRange())
    predictions = predict_all(reverse, images)
    none, one, two = (bind(Hybrid(weight=weight), reverse).loss(*predictions) for weight in (0.0, 0.1, 0.2))
    torch.testing.assert_close(two - none, 2 * (one - none))
    assert (one != none).all()


@LEARNED
@pytest.mark.parametrize("raw", [-30.0, -5.0, 0.0, 5.0, 30.0])
@pytest.mark.parametrize("objective", [VariationalBound, Hybrid], ids=lambda kind: kind.__name__)
def test_gradient_is_finite_at_every_step_for_learned_variances_near_and_far(objective, variance, raw, images, oracle):
    """In float32, from variances of e^-30 to e^30 (far outside a learned range), at t = 1 as well."""
    parameter = torch.tensor(raw, requires_grad=True)
    reverse = oracle(BETAS, Epsilon, lambda x, t: 0.5 * x, variance, lambda x, t: parameter.expand_as(x), 9)
    loss = bind(objective(AllTimesteps()), reverse)(reverse, images.float())
    (gradient,) = torch.autograd.grad(loss.sum(), parameter)
    assert loss.isfinite().all() and gradient.isfinite()


@pytest.mark.parametrize("num_steps", [1000, 4000])
@pytest.mark.parametrize("variance", [BetaVariance(), LearnedRange()], ids=type)
@pytest.mark.parametrize("kind", [Epsilon, PosteriorMean], ids=lambda kind: kind.__name__)
def test_gradient_of_the_bound_is_finite_where_x_0_is_far_from_determined(kind, variance, num_steps, small_network):
    """Late steps of a long linear schedule, alpha_bar_T down to 4e-18: the decoder's branch, masked there, is huge.

    Its gradient once overflowed, and zero times infinity is NaN.
    """
    betas = torch.linspace(1e-4, 0.02, num_steps).double()
    reverse = GaussianReverse(GaussianProcess(NoiseSchedule(betas)), small_network, kind(), variance, channels=1)
    t = torch.tensor([[num_steps], [num_steps - 1], [num_steps // 2], [1]])
    objective = bind(VariationalBound(Fixed(t.tolist(), [[1.0]] * 4)), reverse)
    loss = objective(reverse, torch.randint(0, 256, (4, 1, 2, 2)) / 127.5 - 1)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(p.grad.isfinite().all() for p in reverse.parameters())


@pytest.mark.parametrize("timesteps", [AllTimesteps(), LowDiscrepancy()], ids=type)
def test_a_draw_fixes_what_is_random_image_by_image(timesteps, images, reverse_with):
    """Given steps and noise the loss is a function of the image, and a slice of the draw belongs to those images."""
    reverse = reverse_with()
    objective = bind(Simple(timesteps), reverse)
    draw, eps = objective.draw(reverse, images)
    whole = objective(reverse, images, (draw, eps))
    torch.testing.assert_close(objective(reverse, images, (draw, eps)), whole, rtol=0, atol=0)
    for part in (slice(0, 1), slice(1, 4)):
        torch.testing.assert_close(objective(reverse, images[part], (draw[part], eps[part])), whole[part])


def test_timesteps_receive_the_losses_of_training_and_of_nothing_else(images, reverse_with):
    """Unweighted, per step and detached in training; evaluation leaves the history alone."""
    reverse, timesteps = reverse_with(), Fixed([[1, 2]] * 4, [[0.0, 0.5]] * 4)
    objective = bind(Simple(timesteps), reverse)
    objective.eval()(reverse, images)
    assert not timesteps.received
    loss = objective.train()(reverse, images)
    ((t, losses),) = timesteps.received
    assert t.tolist() == [1, 2] * 4 and not losses.requires_grad
    torch.testing.assert_close(0.5 * losses[1::2], loss.detach())


@pytest.mark.parametrize("timesteps", [AllTimesteps(), LowDiscrepancy(), ImportanceSampled(history=1)], ids=type)
def test_every_draw_estimates_the_same_mean(timesteps, images, oracle):
    """With a loss that depends on t alone, the mean over many images is the mean over t, within 5 standard errors."""
    reverse = oracle(BETAS, CleanImage, lambda x, t: torch.full_like(x, 0.2 * t))
    objective, x_0 = bind(Simple(timesteps), reverse), torch.zeros(4000, 1, 1, 1)
    objective.timesteps.update(torch.arange(1, 6), torch.arange(1.0, 6))
    losses = objective.eval()(reverse, x_0)
    expected = sum((0.2 * t) ** 2 for t in range(1, 6)) / 5
    assert abs(losses.mean().item() - expected) < 5 * losses.std().item() / math.sqrt(4000) + 1e-6


@pytest.mark.parametrize(
    ("objective", "variance", "betas", "words"),
    [
        (Simple, LearnedDiagonal(), BETAS, ["Simple", "LearnedDiagonal", "VariationalBound or Hybrid"]),
        (Simple, LearnedRange(), BETAS, ["Simple", "LearnedRange", "BetaVariance"]),
        (Hybrid, BetaVariance(), BETAS, ["Hybrid", "BetaVariance", "LearnedRange, or Simple"]),
        (Hybrid, PosteriorVariance(), BETAS, ["Hybrid", "PosteriorVariance"]),
        (VariationalBound, BetaVariance(), [0.0, 0.1], ["VariationalBound", "NoiseSchedule", "step 2", "beta_1"]),
        (Hybrid, LearnedRange(), [0.0, 0.0, 0.1], ["Hybrid", "step 3", "Simple"]),
    ],
    ids=lambda v: getattr(v, "__name__", type(v).__name__),
)
def test_objectives_refuse_models_that_contradict_them(objective, variance, betas, words, reverse_with):
    """One line that names both sides and what to use instead, and blames model.objective."""
    with pytest.raises(ConfigError) as error:
        bind(objective(), reverse_with(CleanImage if 0.0 in betas else Epsilon, variance, betas))
    assert error.value.key == "model.objective" and "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("betas", [[0.0, 0.0], [0.1, 0.0, 0.2], [0.5, 1.0], [1.0, 1.0]], ids=str)
@pytest.mark.parametrize("variance", [BetaVariance(), LearnedDiagonal(), LearnedRange()], ids=type)
def test_a_finite_bound_is_accepted_and_is_finite(betas, variance, images, reverse_with):
    """Steps without noise later than the first noise, or everywhere, and steps of pure noise."""
    reverse = reverse_with(CleanImage, variance, betas)
    loss = bind(VariationalBound(AllTimesteps()), reverse)(reverse, images)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(p.grad.isfinite().all() for p in reverse.parameters())
