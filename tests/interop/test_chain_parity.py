"""Our chains against diffusers' schedulers, step by step: same x_t, same network output, same noise, same x_s.

A scheduler's timestep is our t - 1. Its tables are float32 and ours float64: except where a test says "stock", they are
replaced by the same formulas in float64, written out here, so that what is compared is the algorithm.
"""

import math
from functools import partial
from itertools import product

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import nn

from lit_diffusion.diffusion import (
    AncestralSampler,
    BetaVariance,
    CleanImage,
    CosineSchedule,
    DDIMSampler,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    LearnedRange,
    LinearSchedule,
    PosteriorVariance,
    QuadraticSchedule,
    Velocity,
)

T = 1000
COUNTS = pytest.mark.parametrize("count", [1000, 250, 50])
SCHEDULES = {"linear": LinearSchedule(), "scaled_linear": QuadraticSchedule(), "squaredcos_cap_v2": CosineSchedule()}
PREDICTIONS = {"epsilon": Epsilon(), "sample": CleanImage(), "v_prediction": Velocity()}
VARIANCES = {"fixed_small": PosteriorVariance(), "fixed_large": BetaVariance(), "learned_range": LearnedRange()}
COSINE = [math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(T + 1)]
BETAS = {
    "linear": torch.linspace(1e-4, 0.02, T, dtype=torch.float64),
    "scaled_linear": torch.linspace(1e-4**0.5, 0.02**0.5, T, dtype=torch.float64) ** 2,
    "squaredcos_cap_v2": torch.tensor([min(1 - b / a, 0.999) for a, b in zip(COSINE, COSINE[1:])], dtype=torch.float64),
}


def scheduler_of(make, count, stock=False, **config):
    """A scheduler about to walk a chain of `count` steps; unless `stock`, with float64 tables."""
    scheduler = make(num_train_timesteps=T, **config)
    scheduler.set_timesteps(count)
    if not stock:
        scheduler.betas = BETAS[scheduler.config.beta_schedule]
        scheduler.alphas = 1 - scheduler.betas
        scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    return scheduler


def visited(scheduler):
    """The scheduler's timesteps as our samplers count them: ascending, from 1."""
    return [index + 1 for index in reversed(scheduler.timesteps.tolist())]


class Network(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def reverse_of(config, function):
    """Our model of a scheduler's configuration, with a function of (x_t, t - 1) in the place of the network."""
    return GaussianReverse(
        GaussianProcess(SCHEDULES[config.beta_schedule]),
        lambda *_: Network(function),
        PREDICTIONS[config.prediction_type],
        VARIANCES[config.get("variance_type", "fixed_small")],
        clip_x_0=config.clip_sample,
    )


@torch.inference_mode()
def each_step(sampler, scheduler, dtype=torch.float64, **arguments):
    """x_s of every step of a chain, each from an x_t of its own: ours and theirs, (steps, 3, 4, 4) in chain order.

    x_t follows q(x_t|x_0) for images in [-1, 1], a third of it at the ends, and the output misses its target by 0.03.
    """
    config, steps = scheduler.config, list(sampler.subset(LinearSchedule(T)))[::-1]
    t, s = torch.tensor(steps), torch.tensor([*steps[1:], 0])
    x_0, eps, error, raw = torch.randn(4, len(t), 3, 4, 4, generator=generator(0), dtype=torch.float64)
    x_0, kept = x_0.clamp(-1, 1), (1 - BETAS[config.beta_schedule]).cumprod(0)[t - 1].view(-1, 1, 1, 1)
    signal, noise = kept.sqrt(), (1 - kept).sqrt()
    x_t = (signal * x_0 + noise * eps).to(dtype)
    target = {"epsilon": eps, "sample": x_0, "v_prediction": signal * eps - noise * x_0}[config.prediction_type]
    learned = [raw.tanh()] if config.get("variance_type") == "learned_range" else []
    output = torch.cat([target + 0.03 * error, *learned], dim=1).to(dtype)

    def network(x, index):
        assert torch.equal(index, scheduler.timesteps)
        return output

    reverse, draws = reverse_of(config, network), generator(1)
    p = sampler.transition(reverse.predict(x_t, t, clip=True), s)
    z = torch.cat([torch.randn(1, 3, 4, 4, generator=draws, dtype=dtype) for _ in t])
    ours = torch.where(s.view(-1, 1, 1, 1) > 0, p.rsample(z), p.outcome())

    each, draws = zip(output.split(1), scheduler.timesteps.tolist(), x_t.split(1)), generator(1)
    theirs = [scheduler.step(*step, generator=draws, **arguments).prev_sample for step in each]
    return ours, torch.cat(theirs)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def close(ours, theirs, atol):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_have_the_same_betas(schedule):
    """Ours are the float64 formulas, and the scheduler's the same to float32's last digits."""
    t = torch.arange(1, T + 1)
    ours = SCHEDULES[schedule].beta(t, t - 1)
    torch.testing.assert_close(ours, BETAS[schedule], rtol=1e-12, atol=0)
    torch.testing.assert_close(DDPMScheduler(beta_schedule=schedule).betas.double(), ours, rtol=4e-7, atol=0)


@COUNTS
@pytest.mark.parametrize("make", [DDPMScheduler, DDIMScheduler])
def test_a_number_of_steps_is_linspace_spacing(make, count):
    assert visited(scheduler_of(make, count, timestep_spacing="linspace")) == list(
        AncestralSampler(count).subset(LinearSchedule(T))
    )


def test_linspace_spacing_differs_by_one_where_a_step_falls_halfway_and_for_a_single_step():
    """Halfway, ours goes to the even index and linspace where the rounding of its stride leads. A single step is T for
    us, where the noise is, and the first for linspace.
    """
    scheduler = scheduler_of(DDPMScheduler, 1, timestep_spacing="linspace")
    assert (visited(scheduler), AncestralSampler(1).subset(LinearSchedule(T))) == ([1], [T])
    for count in range(2, T + 1):
        scheduler.set_timesteps(count)
        for i, (ours, theirs) in enumerate(zip(AncestralSampler(count).subset(LinearSchedule(T)), visited(scheduler))):
            halfway = 2 * i * (T - 1) % (2 * (count - 1)) == count - 1
            assert ours == theirs or (halfway and abs(ours - theirs) == 1)


@pytest.mark.parametrize(("count", "clip"), [(1000, True), (250, True), (250, False), (50, True), (50, False)])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("variance", VARIANCES)
def test_ancestral_step_is_ddpm_scheduler_step(variance, prediction, count, clip):
    """1000 steps without clipping are below, on float32 images."""
    config = {"variance_type": variance, "prediction_type": prediction, "clip_sample": clip}
    scheduler = scheduler_of(DDPMScheduler, count, timestep_spacing="linspace", **config)
    close(*each_step(AncestralSampler(count), scheduler), atol=1e-12)


@pytest.mark.parametrize("count", [250, 50])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", ["scaled_linear", "squaredcos_cap_v2"])
def test_ancestral_step_is_ddpm_scheduler_step_on_other_schedules(schedule, prediction, count):
    """Without clipping: cosine and eps divide by sqrt(alpha_bar_T) = 5e-5, and x_s reaches 35."""
    config = {"beta_schedule": schedule, "prediction_type": prediction, "clip_sample": False}
    scheduler = scheduler_of(DDPMScheduler, count, timestep_spacing="linspace", **config)
    close(*each_step(AncestralSampler(count), scheduler), atol=1e-12)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("count", [250, 50])
@pytest.mark.parametrize("variance", VARIANCES)
def test_ancestral_step_is_ddpm_scheduler_step_on_a_list_of_steps(variance, count, spacing):
    """But for trailing's last step, below."""
    scheduler = scheduler_of(DDPMScheduler, count, timestep_spacing=spacing, variance_type=variance)
    ours, theirs = each_step(AncestralSampler(visited(scheduler)), scheduler)
    close(ours[:-1], theirs[:-1], atol=1e-12)
    if spacing == "leading":
        close(ours, theirs, atol=1e-12)


@COUNTS
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_steps_agree_on_float32_images(prediction, count):
    """To a few units in the last place of numbers of order 1. Left out: the cosine schedule with eps and no clipping,
    whose x_s of 35 is off by 8e-5, as float32 rounding is multiplied by 1 / sqrt(alpha_bar_T) = 20000.
    """
    config = {"prediction_type": prediction, "clip_sample": False}
    scheduler = scheduler_of(DDPMScheduler, count, timestep_spacing="linspace", variance_type="learned_range", **config)
    close(*each_step(AncestralSampler(count), scheduler, torch.float32), atol=1e-6)
    scheduler = scheduler_of(DDIMScheduler, count, **config)
    close(*each_step(DDIMSampler(visited(scheduler), 0.5), scheduler, torch.float32, eta=0.5), atol=1e-6)


@pytest.mark.parametrize(
    ("count", "spacing", "clip"),
    [(1000, "leading", True), *product((250, 50), ("leading", "trailing"), (True, False))],
)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_step_is_ddim_scheduler_step(eta, prediction, count, spacing, clip):
    scheduler = scheduler_of(
        DDIMScheduler, count, timestep_spacing=spacing, prediction_type=prediction, clip_sample=clip
    )
    sampler = DDIMSampler(visited(scheduler), eta)
    close(*each_step(sampler, scheduler, eta=eta, use_clipped_model_output=clip), atol=1e-13)


def answer(x, index):
    """A network of two outputs, bounded, neither linear nor the same at any two steps."""
    time = (index.to(x) / 100).cos().view(-1, 1, 1, 1)
    return torch.cat([(x.roll(1, -1) - 0.5 * x + time).tanh(), (2 * x + time).sin()], dim=1)


CHAINS = [
    (AncestralSampler, DDPMScheduler, 1000, {"variance_type": "learned_range"}),
    (AncestralSampler, DDPMScheduler, 250, {"variance_type": "fixed_large", "prediction_type": "v_prediction"}),
    (AncestralSampler, DDPMScheduler, 50, {"variance_type": "fixed_small", "beta_schedule": "squaredcos_cap_v2"}),
    (partial(DDIMSampler, eta=0.5), DDIMScheduler, 250, {"timestep_spacing": "trailing", "clip_sample": False}),
    (DDIMSampler, DDIMScheduler, 50, {"prediction_type": "v_prediction"}),
]


@pytest.mark.parametrize(("make_sampler", "make", "count", "config"), CHAINS)
@torch.inference_mode()
def test_whole_chains_of_one_network_and_seed_stay_together(make_sampler, make, count, config):
    """Each walks on from its own images, x_T to x_0, and draws its own noise from a generator of the same seed."""
    scheduler = scheduler_of(make, count, **config)
    sampler = make_sampler(visited(scheduler))
    channels = 6 if config.get("variance_type") == "learned_range" else 3
    x = x_T = torch.randn(2, 3, 4, 4, generator=generator(0), dtype=torch.float64)  # noqa: N806
    chain = sampler.chain(reverse_of(scheduler.config, lambda *at: answer(*at)[:, :channels]), x_T, generator(1))
    arguments = {"eta": sampler.eta, "use_clipped_model_output": True} if make is DDIMScheduler else {}
    draws = generator(1)
    for index, step in zip(scheduler.timesteps, chain, strict=True):
        theirs = scheduler.step(answer(x, index)[:, :channels], index, x, generator=draws, **arguments)
        x = theirs.prev_sample
        assert step.t == index + 1
        close((step.x_s, step.x_0), (x, theirs.pred_original_sample), atol=1e-11)


def differences(pair):
    """The largest of each step, (steps,)."""
    return (pair[0] - pair[1]).abs().flatten(1).amax(1)


@COUNTS
@pytest.mark.parametrize(("schedule", "first"), [("linear", 25), ("scaled_linear", 80), ("squaredcos_cap_v2", 50)])
def test_stock_float32_tables_move_only_the_earliest_steps(schedule, first, count):
    """By design: ours are float64, with an exact 1 - alpha_bar. In theirs it is a difference of float32 numbers near 1,
    off by 6e-8 where it is 1e-4 (t = 1); the weight of x_t, (1 - alpha_bar_s) / (1 - alpha_bar_t), inherits the 1e-4.
    Before `first`, x_s is off by 9e-5 at most; from there on, and in all of a linear DDIM chain, by less than 1e-5.
    """
    scheduler = scheduler_of(DDPMScheduler, count, True, beta_schedule=schedule, timestep_spacing="linspace")
    off = differences(each_step(AncestralSampler(count), scheduler, torch.float32))
    assert off[scheduler.timesteps + 1 >= first].max() < 1e-5
    low, high = {1000: (5e-5, 1e-4), 250: (1e-5, 5e-5), 50: (4e-6, 2e-5)}[count]
    assert low < off.max() < high
    if schedule == "linear":
        scheduler = scheduler_of(DDIMScheduler, count, True, clip_sample=False)
        sampler = DDIMSampler(visited(scheduler), eta=1.0)
        assert differences(each_step(sampler, scheduler, torch.float32, eta=1.0)).max() < 1e-5


@pytest.mark.parametrize("make", [DDPMScheduler, DDIMScheduler])
def test_default_spacing_is_leading_and_ours_has_both_ends(make):
    """By design, as Nichol & Dhariwal 2021: a chain from pure noise starts at T, and leading never visits it."""
    assert visited(scheduler_of(make, 50)) == list(range(1, T, 20))
    ours = AncestralSampler(50).subset(LinearSchedule(T))
    assert (ours[0], ours[-1], len(ours)) == (1, T, 50)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_eps_of_ddim_follows_the_clipped_x_0(prediction):
    """By design: x_0 and eps then still make up x_t. The scheduler's default keeps the eps from before clipping, and
    puts clipped pixels elsewhere by 0.05 and more; its `use_clipped_model_output` is ours. Without clipping both are.
    """
    scheduler = scheduler_of(DDIMScheduler, 50, prediction_type=prediction)
    sampler = DDIMSampler(visited(scheduler))
    assert differences(each_step(sampler, scheduler)).max() > 0.05
    close(*each_step(sampler, scheduler, use_clipped_model_output=True), atol=1e-13)
    scheduler.register_to_config(clip_sample=False)
    close(*each_step(sampler, scheduler), atol=1e-13)


@pytest.mark.parametrize("count", [250, 50])
def test_ddim_scheduler_on_linspace_steps_to_noise_levels_it_does_not_visit(count):
    """By design: it goes to t - T // count whatever the next timestep is, ours to the next step of the chain."""
    scheduler = scheduler_of(DDIMScheduler, count, timestep_spacing="linspace")
    t = scheduler.timesteps + 1
    same = torch.cat([t[1:], torch.zeros(1)]) == (t - T // count).clamp(min=0)
    off = differences(each_step(DDIMSampler(count), scheduler, use_clipped_model_output=True))
    assert off[same].max() < 1e-13
    assert off[~same].min() > 5e-5 and off.max() > 5e-3


@torch.inference_mode()
def last_step(scheduler, seed):
    """Our p(x_0 | x_t) at a chain's last t, the scheduler's x_0, and the noise that it could draw for it."""
    x, output = torch.randn(2, 2, 3, 4, 4, generator=generator(0), dtype=torch.float64)
    reverse, index = reverse_of(scheduler.config, lambda *_: output), int(scheduler.timesteps[-1])
    at = torch.full((2,), index + 1)
    p = AncestralSampler().transition(reverse.predict(x, at, clip=True), 0 * at)
    theirs = scheduler.step(output, index, x, generator=generator(seed)).prev_sample
    return p, theirs, torch.randn(x.shape, generator=generator(seed), dtype=x.dtype)


def test_last_step_to_x_0_adds_no_noise_and_ours_still_has_a_variance():
    """By design: the bound's decoder needs one at t = 1, where beta~ is 0: that of t = 2, as in Ho et al.'s code."""
    scheduler = scheduler_of(DDPMScheduler, T)
    for seed in (1, 2):
        p, theirs, _ = last_step(scheduler, seed)
        close(p.outcome(), theirs, atol=1e-13)
    (first, second), kept = BETAS["linear"][:2], (1 - BETAS["linear"][:2]).prod()
    close(p.variance.flatten(), (second * first / (1 - kept)).expand(2), atol=1e-15)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ddpm_scheduler_adds_noise_to_x_0_where_the_last_step_is_not_from_timestep_0(variance):
    """By design: trailing's last step is from t = 20, and theirs is noiseless only from t = 1: x_0 keeps a noise of
    sqrt(beta_{20|0}) = 0.08 with fixed_large, of 1e-10 with fixed_small. Ours is the mean wherever s = 0.
    """
    p, theirs, z = last_step(scheduler_of(DDPMScheduler, 50, timestep_spacing="trailing", variance_type=variance), 1)
    sigma = 1e-10 if variance == "fixed_small" else (1 - (1 - BETAS["linear"][:20]).prod()).sqrt()
    close(p.outcome() + sigma * z, theirs, atol=1e-12)
