"""Configs of DDPMScheduler, DDIMScheduler and DPMSolverMultistepScheduler, from and to our schedule, parameterization,
variance and sampler.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from lit_diffusion.diffusion.gaussian import GaussianReverse
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.diffusion.schedule import CosineSchedule, LinearSchedule, NoiseSchedule, QuadraticSchedule
from lit_diffusion.diffusion.solvers import DDIMSampler, DPMSolverPlusPlusSampler, HeunSampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.diffusers.fields import VERSION, check_number, check_settings

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "prediction_type": "epsilon",
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,  # like the next, used by thresholding only
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",  # of fewer steps than T, which our sampler's `steps` lists
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "DDPMScheduler": {**SCHEDULER, "variance_type": "fixed_small"},
    "DDIMScheduler": {**SCHEDULER, "set_alpha_to_one": True},
    "DPMSolverMultistepScheduler": {
        **{key: value for key, value in SCHEDULER.items() if not key.startswith("clip_sample")},
        "solver_order": 2,
        "algorithm_type": "dpmsolver++",
        "solver_type": "midpoint",
        "lower_order_final": True,  # like the next, without effect: final_sigmas_type says how the last step is taken
        "euler_at_final": False,
        "use_karras_sigmas": False,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
        "use_lu_lambdas": False,
        "use_flow_sigmas": False,
        "flow_shift": 1.0,  # of flow sigmas
        "final_sigmas_type": "zero",
        "lambda_min_clipped": -math.inf,  # of the spacing, which our sampler's `steps` replaces
        "variance_type": None,
        "timestep_spacing": "linspace",
        "use_dynamic_shifting": False,
        "time_shift_type": "exponential",  # of dynamic shifting
    },
}
SCHEDULER_CHOICES: dict[str, tuple[Any, ...]] = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "clip_sample": (False, True),
    "clip_sample_range": (1.0,),
    "prediction_type": ("epsilon", "sample", "v_prediction"),
    "thresholding": (False,),
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "steps_offset": (0,),
    "rescale_betas_zero_snr": (False,),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "learned_range"),
    "set_alpha_to_one": (True,),
}
OF_SOLVER: dict[str, tuple[Any, ...]] = {
    "thresholding": (False, True),  # True with a sample_max_value of 1 is clipping
    "sample_max_value": (1.0,),
    "solver_order": (1, 2),
    "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),
    "solver_type": ("midpoint",),
    "use_karras_sigmas": (False,),
    "use_exponential_sigmas": (False,),
    "use_beta_sigmas": (False,),
    "use_lu_lambdas": (False, True),
    "use_flow_sigmas": (False,),
    "final_sigmas_type": ("zero",),
    "variance_type": (None, "learned_range"),
    "use_dynamic_shifting": (False,),
}
FORMER: dict[str, tuple[Any, ...]] = {  # settings before diffusers 0.10, with the values that we support
    "timestep_values": (None,),
    "tensor_format": ("np", "pt"),
    "predict_epsilon": (True, None),
}
MOST_BETAS = 8000  # listed in a configuration at most
SCHEDULES = {
    "linear": "LinearSchedule",
    "scaled_linear": "QuadraticSchedule",
    "squaredcos_cap_v2": "CosineSchedule",
}
PARAMETERIZATIONS = {"epsilon": "Epsilon", "sample": "CleanImage", "v_prediction": "Velocity"}
VARIANCES = {
    "fixed_small": "PosteriorVariance",
    "fixed_small_log": "PosteriorVariance",
    "fixed_large": "BetaVariance",
    "learned_range": "LearnedRange",
}


def read_settings(content: Mapping[str, Any], file: str) -> dict[str, Any]:
    """All settings of a scheduler's config. Raises ConfigError, by name, for what is not supported."""
    former = {key for key, values in FORMER.items() if key in content and content[key] in values}
    given = {key: value for key, value in content.items() if key not in former}
    name = content["_class_name"]
    for switch, setting in (("clip_sample", "clip_sample_range"), ("thresholding", "sample_max_value")):
        if given.get(switch, SCHEDULERS[name].get(switch)) is False:  # it has no effect then
            given.pop(setting, None)
    choices = SCHEDULER_CHOICES if name != "DPMSolverMultistepScheduler" else SCHEDULER_CHOICES | OF_SOLVER
    return check_settings(given, SCHEDULERS[name], choices, file)


def convert_reverse(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The arguments of our GaussianReverse for a check_settings config of a scheduler; some say no variance."""
    variance = {"variance": VARIANCES[config["variance_type"]]} if config.get("variance_type") else {}
    return {
        "process": {"schedule": convert_schedule(config, file)},
        "parameterization": PARAMETERIZATIONS[config["prediction_type"]],
        "clip_x_0": config.get("clip_sample", config["thresholding"]),
        **variance,
    }


def convert_sampler(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Our sampler over all T steps for a check_settings config of the scheduler `name`."""
    given: dict[str, Any] = {"steps": None}
    if name != "DPMSolverMultistepScheduler":
        return {"class_path": "DDIMSampler" if name == "DDIMScheduler" else "AncestralSampler", "init_args": given}
    given |= {"order": config["solver_order"], "eta": float(config["algorithm_type"].startswith("sde"))}
    if config["use_lu_lambdas"]:
        given["spacing"] = "log_snr"
    return {"class_path": "DPMSolverPlusPlusSampler", "init_args": given}


def convert_schedule(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Ours with the betas of a check_settings config of a scheduler."""
    steps, betas = config["num_train_timesteps"], config["trained_betas"]
    check_number(steps, f"{file}: num_train_timesteps", 1, whole=True)
    if betas is not None:
        if not isinstance(betas, list) or len(betas) != steps or steps > MOST_BETAS:
            raise ConfigError(
                f"{file}: trained_betas: expected {steps} numbers, as in num_train_timesteps, and at most {MOST_BETAS}"
            )
        betas = [check_number(one, f"{file}: trained_betas") for one in betas]
        return {"class_path": "TabulatedSchedule", "init_args": {"betas": betas}}
    ends = {} if config["beta_schedule"] == "squaredcos_cap_v2" else {k: config[k] for k in ("beta_start", "beta_end")}
    for key, value in ends.items():
        check_number(value, f"{file}: {key}")
    return {"class_path": SCHEDULES[config["beta_schedule"]], "init_args": {"num_steps": steps, **ends}}


def make_scheduler_config(reverse: GaussianReverse, sampler: Sampler) -> dict[str, Any]:
    """The config of a scheduler for our reverse model and sampler. Raises ConfigError for what it cannot express.

    DDPMScheduler takes evenly spaced steps including both ends, like our sampler. DDIMScheduler steps from t to
    t - T // steps whatever its list of steps, so only its default spacing is correct. DPMSolverMultistepScheduler never
    visits the first step; given our list of steps it does what our sampler does.
    """
    schedule = reverse.process.schedule
    name, settings = describe_sampler(reverse, sampler)
    if name != "DDPMScheduler" and reverse.variance.learned:
        raise ConfigError(
            f"model.sampler: {name} cannot express a network with a learned variance; use AncestralSampler in the "
            "run's config.yaml, or --format safetensors"
        )
    return {
        "_class_name": name,
        "_diffusers_version": VERSION,
        **SCHEDULERS[name],
        **describe_betas(schedule),
        "num_train_timesteps": schedule.num_steps,
        "prediction_type": translate("parameterization", PARAMETERIZATIONS, reverse.parameterization),
        **settings,
    }


def describe_sampler(reverse: GaussianReverse, sampler: Sampler) -> tuple[str, dict[str, Any]]:
    """The class of a scheduler for our sampler and the settings that only this class has."""
    if sampler.guidance_scale:
        raise ConfigError(
            "model.sampler.guidance_scale: diffusers' pipelines of UNet2DModel cannot express guidance; use 0 in the "
            "run's config.yaml, or --format safetensors"
        )
    between = isinstance(sampler, DPMSolverPlusPlusSampler) and sampler.eta not in (0, 1)
    if isinstance(sampler, HeunSampler) or between:
        what = f"{type(sampler).__name__}{' with an eta between 0 and 1' if between else ''}"
        raise ConfigError(
            f"model.sampler: diffusers' pipelines cannot express {what}; use DPMSolverPlusPlusSampler with eta 0 or 1 "
            "in the run's config.yaml, or --format safetensors"
        )
    if isinstance(sampler, DPMSolverPlusPlusSampler):
        algorithm = "sde-dpmsolver++" if sampler.eta else "dpmsolver++"
        settings = {"solver_order": sampler.order, "algorithm_type": algorithm, "thresholding": reverse.clip_x_0}
        return "DPMSolverMultistepScheduler", settings
    if isinstance(sampler, DDIMSampler):
        return "DDIMScheduler", {"clip_sample": reverse.clip_x_0}
    variance = translate("variance", VARIANCES, reverse.variance)
    settings = {"variance_type": variance, "timestep_spacing": "linspace", "clip_sample": reverse.clip_x_0}
    return "DDPMScheduler", settings


def describe_betas(schedule: NoiseSchedule) -> dict[str, Any]:
    """A scheduler's settings for these betas: the name of a schedule that produces them, else the list of all."""
    t = schedule.steps()
    betas = schedule.beta(t, t - 1)
    ends = {"beta_start": betas[0].item(), "beta_end": betas[-1].item()}
    named: dict[str, NoiseSchedule] = {
        "linear": LinearSchedule(schedule.num_steps, *ends.values()),
        "scaled_linear": QuadraticSchedule(schedule.num_steps, *ends.values()),
        "squaredcos_cap_v2": CosineSchedule(schedule.num_steps),
    }
    for name, other in named.items():
        if torch.allclose(schedule.table, other.table, rtol=1e-9, atol=0):
            return {"beta_schedule": name, **({} if name == "squaredcos_cap_v2" else round_ends(ends))}
    if schedule.num_steps > MOST_BETAS:
        raise ConfigError(
            f"{type(schedule).__name__}: diffusers has no such schedule, and at most {MOST_BETAS} betas are listed; "
            "use "
            "--format safetensors"
        )
    return {"trained_betas": betas.tolist()}


def round_ends(ends: dict[str, float]) -> dict[str, float]:
    """Removes the rounding errors of logarithms from the last digits.

    >>> round_ends({"beta_start": 0.00010000000000000286})
    {'beta_start': 0.0001}
    """
    return {key: float(f"{value:.12g}") for key, value in ends.items()}


def translate(key: str, theirs: Mapping[str, str], ours: object) -> str:
    """diffusers' word for a part of ours. Raises ConfigError if there is none."""
    name = type(ours).__name__
    words = [word for word, other in theirs.items() if other == name]
    if not words:
        raise ConfigError(
            f"model.reverse.{key}: diffusers' schedulers cannot express {name}, only "
            f"{', '.join(dict.fromkeys(theirs.values()))}; use --format safetensors, which supports every model",
            key=f"model.reverse.{key}",
        )
    return words[0]
