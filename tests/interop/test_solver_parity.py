"""DPM-Solver++ against diffusers' DPMSolverMultistepScheduler: steps, chains, and folders in and out."""

import json
import re

import pytest
import torch
import yaml
from diffusers import DPMSolverMultistepScheduler
from torch import nn

from lit_diffusion.cli.entry import dispatch
from lit_diffusion.diffusion import (
    CleanImage,
    DPMSolverPlusPlusSampler,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    HeunSampler,
    LinearSchedule,
    QuadraticSchedule,
    Velocity,
)
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.diffusers import scheduler
from tests.interop.conftest import SMALL, imported

T = 1000
SCHEDULES = {"linear": LinearSchedule(), "scaled_linear": QuadraticSchedule()}
PREDICTIONS = {"epsilon": Epsilon(), "sample": CleanImage(), "v_prediction": Velocity()}
BETAS = {
    "linear": torch.linspace(1e-4, 0.02, T, dtype=torch.float64),
    "scaled_linear": torch.linspace(1e-4**0.5, 0.02**0.5, T, dtype=torch.float64) ** 2,
}
SOLVERS = [(1, 0.0), (2, 0.0), (1, 1.0), (2, 1.0)]


class Network(nn.Module):
    """Bounded, neither linear nor the same at any two steps."""

    def __init__(self, *_):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, x, index):
        time = (index.to(x) / 100).cos().view(-1, 1, 1, 1)
        return (x.roll(1, -1) - 0.5 * x + time).tanh()


def theirs_for(sampler, schedule, **config):
    """Their scheduler about to walk our chain, with float64 tables."""
    algorithm = "sde-dpmsolver++" if sampler.eta else "dpmsolver++"
    scheduler = DPMSolverMultistepScheduler(solver_order=sampler.order, algorithm_type=algorithm, **config)
    steps = list(reversed(sampler.subset(schedule)))
    scheduler.set_timesteps(timesteps=[t - 1 for t in steps])
    noise = (1 - BETAS[scheduler.config.beta_schedule]).cumprod(0).reciprocal().sub(1).sqrt()
    scheduler.sigmas = torch.cat([noise[torch.tensor(steps) - 1], torch.zeros(1)])
    return scheduler


@pytest.mark.parametrize(("order", "eta"), SOLVERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    ("beta_schedule", "steps", "spacing"),
    [("linear", 10, "uniform"), ("linear", 50, "log_snr"), ("scaled_linear", 20, "quadratic")],
)
@pytest.mark.parametrize("clip", [True, False])
@torch.inference_mode()
def test_steps_and_chains_are_the_multistep_scheduler_s(clip, beta_schedule, steps, spacing, prediction, order, eta):
    """To 1e-5, each step from their x_t, and the whole chain from x_T, in float32, to which theirs rounds images.

    Clipping is their thresholding with a sample_max_value of 1. Without it x_0 may be 160 at first: 1e-5 of that.
    """
    schedule = SCHEDULES[beta_schedule]
    sampler = DPMSolverPlusPlusSampler(steps, eta, spacing, order)
    reverse = GaussianReverse(GaussianProcess(schedule), Network, PREDICTIONS[prediction], clip_x_0=clip).eval()
    config = {"beta_schedule": beta_schedule, "prediction_type": prediction, "thresholding": clip}
    theirs = theirs_for(sampler, schedule, **config)
    generator = lambda: torch.Generator().manual_seed(1)  # noqa: E731
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    draws, before, off, largest = generator(), None, [], 1.0
    chain = sampler.chain(reverse, x, generator())
    for timestep, ours in zip(theirs.timesteps, chain, strict=True):
        at_t, at_s = torch.full((2,), ours.t), torch.full((2,), ours.s)
        assert timestep == ours.t - 1
        noise = torch.randn(x.shape, generator=draws) if ours.s else torch.zeros_like(x)
        now = reverse.predict(x, at_t, clip=True)
        p = sampler.step(reverse, now, at_s, before) if ours.s else sampler.transition(now, at_s)
        x = theirs.step(reverse.network(x, at_t - 1), timestep, x, variance_noise=noise).prev_sample
        before, largest = now, max(largest, float(now.x_0.abs().max()))
        off.append(((p.rsample(noise) - x).abs().max(), (ours.x_s - x).abs().max()))
    step, whole = (max(one) for one in zip(*off))
    assert step < 1e-5 * largest and whole < 1e-5 * largest


@torch.no_grad()
@pytest.mark.parametrize(("order", "eta"), [(2, 0.0), (1, 1.0)])
def test_an_exported_run_draws_our_images_by_the_loop_of_its_card(order, eta, folder_of, tmp_path):
    """And imports again with the same sampler; diffusers' folder of it, without ours, is understood too."""
    _, folder = folder_of(SMALL)
    ours = imported(folder, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    sampler = {"class_path": "DPMSolverPlusPlusSampler", "init_args": {"steps": 6, "eta": eta, "order": order}}
    config["model"]["init_args"]["sampler"] = sampler
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    dispatch(["export", str(tmp_path / "run"), "-o", str(tmp_path / "exported")])
    card = (tmp_path / "exported/README.md").read_text()
    code = card.split("```python")[1].split("```")[0].replace("THIS_FOLDER", str(tmp_path / "exported"))
    names: dict = {}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        exec(code, names)
    draws = torch.Generator().manual_seed(7)
    x = torch.randn(16, 1, 8, 8, generator=draws)
    *_, step = DPMSolverPlusPlusSampler(6, eta, order=order).chain(ours, x, draws)
    assert 0.1 < names["images"].std() < 1
    assert (names["images"] - (step.x_s / 2 + 0.5).clamp(0, 1)).abs().max() <= 1e-4
    for name in ("config.yaml", "README.md"):
        (tmp_path / "exported" / name).unlink()
    back = imported(tmp_path / "exported", tmp_path / "back")
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), back.parameters()))
    found = yaml.safe_load((tmp_path / "back/config.yaml").read_text())["model"]["init_args"]["sampler"]
    assert found == {**sampler, "init_args": {**sampler["init_args"], "steps": None}} and back.clip_x_0


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("solver_order", 3, "solver_order: expected 1 or 2, got 3"),
        ("algorithm_type", "dpmsolver", "algorithm_type: expected 'dpmsolver++' or 'sde-dpmsolver++', got 'dpmsolver'"),
        ("use_karras_sigmas", True, "use_karras_sigmas: expected False, got True"),
        ("final_sigmas_type", "sigma_min", "final_sigmas_type: expected 'zero', got 'sigma_min'"),
        ("sample_max_value", 1.5, "sample_max_value: expected 1.0, got 1.5"),
    ],
)
def test_settings_of_the_scheduler_that_ours_lacks_are_refused_by_name(setting, value, words, folder_of, tmp_path):
    _, folder = folder_of(SMALL, DPMSolverMultistepScheduler(thresholding=True))
    file = folder / "scheduler/scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), setting: value}))
    with pytest.raises(ConfigError, match=re.escape(words)):
        imported(folder, tmp_path / "run")


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (HeunSampler(), "cannot express HeunSampler; use DPMSolverPlusPlusSampler"),
        (DPMSolverPlusPlusSampler(eta=0.5), "cannot express DPMSolverPlusPlusSampler with an eta between 0 and 1"),
    ],
)
def test_solvers_without_a_scheduler_are_refused(sampler, words):
    reverse = GaussianReverse(GaussianProcess(LinearSchedule()), Network)
    with pytest.raises(ConfigError, match=words):
        scheduler.make_scheduler_config(reverse, sampler)
