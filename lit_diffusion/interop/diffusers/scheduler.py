"""DDPMScheduler and DDIMScheduler: their configs, and our schedule, parameterization, variance and sampler."""

from collections.abc import Mapping
from typing import Any

import torch

from lit_diffusion.diffusion.gaussian import GaussianReverse
from lit_diffusion.diffusion.sampler import DDIMSampler, Sampler
from lit_diffusion.diffusion.schedule import CosineSchedule, LinearSchedule, NoiseSchedule, QuadraticSchedule
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.diffusers.fields import VERSION, checked, number

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
    "dynamic_thresholding_ratio": 0.995,  # of thresholding, as the next
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",  # of fewer steps than T: which ones are the sampler's `steps` here
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "DDPMScheduler": {**SCHEDULER, "variance_type": "fixed_small"},
    "DDIMScheduler": {**SCHEDULER, "set_alpha_to_one": True},
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
FORMER: dict[str, tuple[Any, ...]] = {  # settings of diffusers before 0.10, and values that say what ours do
    "timestep_values": (None,),
    "tensor_format": ("np", "pt"),
    "predict_epsilon": (True, None),
}
MOST_BETAS = 8000  # that a configuration can list
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


def settings_of(content: Mapping[str, Any], file: str) -> dict[str, Any]:
    """All settings of a scheduler's config. Raises ConfigError, by name, for what ours cannot express."""
    former = {key for key, said in FORMER.items() if key in content and content[key] in said}
    told = {key: value for key, value in content.items() if key not in former}
    if told.get("clip_sample") is False:  # nothing is clipped to it
        told.pop("clip_sample_range", None)
    return checked(told, SCHEDULERS[content["_class_name"]], SCHEDULER_CHOICES, file)


def reverse_of(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The arguments of our GaussianReverse for a checked config of a scheduler; DDIM's says no variance."""
    variance = {"variance": VARIANCES[config["variance_type"]]} if "variance_type" in config else {}
    return {
        "process": {"schedule": schedule_of(config, file)},
        "parameterization": PARAMETERIZATIONS[config["prediction_type"]],
        "clip_x_0": config["clip_sample"],
        **variance,
    }


def schedule_of(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Ours with the betas of a checked config of a scheduler."""
    steps, betas = config["num_train_timesteps"], config["trained_betas"]
    number(steps, f"{file}: num_train_timesteps", 1, whole=True)
    if betas is not None:
        if not isinstance(betas, list) or len(betas) != steps or steps > MOST_BETAS:
            raise ConfigError(
                f"{file}: trained_betas: not {steps} numbers, as num_train_timesteps says, or more than {MOST_BETAS}"
            )
        betas = [number(one, f"{file}: trained_betas") for one in betas]
        return {"class_path": "TabulatedSchedule", "init_args": {"betas": betas}}
    ends = {} if config["beta_schedule"] == "squaredcos_cap_v2" else {k: config[k] for k in ("beta_start", "beta_end")}
    for key, value in ends.items():
        number(value, f"{file}: {key}")
    return {"class_path": SCHEDULES[config["beta_schedule"]], "init_args": {"num_steps": steps, **ends}}


def scheduler_config(reverse: GaussianReverse, sampler: Sampler) -> dict[str, Any]:
    """The config of a scheduler for our reverse model and sampler.

    DDPM's takes evenly spread steps with both ends, as ours. DDIM's goes from t to t - T // steps whatever its list of
    steps says, so that only its own spacings make sense.
    Raises ConfigError, by name, for what it cannot express.
    """
    schedule = reverse.process.schedule
    is_ddim = isinstance(sampler, DDIMSampler)
    if is_ddim and reverse.variance.learned:
        raise ConfigError(
            "model.sampler: DDIMScheduler cannot express a network that learns its variance; write a run's "
            "configuration with AncestralSampler, or --format safetensors"
        )
    name = "DDIMScheduler" if is_ddim else "DDPMScheduler"
    own = {"variance_type": choice("variance", VARIANCES, reverse.variance), "timestep_spacing": "linspace"}
    return {
        "_class_name": name,
        "_diffusers_version": VERSION,
        **SCHEDULERS[name],
        **({} if is_ddim else own),
        **betas_of(schedule),
        "num_train_timesteps": schedule.num_steps,
        "clip_sample": reverse.clip_x_0,
        "prediction_type": choice("parameterization", PARAMETERIZATIONS, reverse.parameterization),
    }


def betas_of(schedule: NoiseSchedule) -> dict[str, Any]:
    """The settings of a scheduler with these betas: a name where there is one that gives them, else all of them."""
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
            return {"beta_schedule": name, **({} if name == "squaredcos_cap_v2" else rounded(ends))}
    if schedule.num_steps > MOST_BETAS:
        raise ConfigError(
            f"{type(schedule).__name__}: diffusers has no name for it, and more than {MOST_BETAS} betas are not "
            "listed; write --format safetensors"
        )
    return {"trained_betas": betas.tolist()}


def rounded(ends: dict[str, float]) -> dict[str, float]:
    """Without what logarithms have added at the last digits."""
    return {key: float(f"{value:.12g}") for key, value in ends.items()}


def choice(key: str, theirs: Mapping[str, str], ours: object) -> str:
    """Their word for a part of ours. Raises ConfigError where there is none."""
    name = type(ours).__name__
    words = [word for word, other in theirs.items() if other == name]
    if not words:
        raise ConfigError(
            f"model.reverse.{key}: diffusers' schedulers cannot express {name}; what they can is "
            f"{', '.join(dict.fromkeys(theirs.values()))}. --format safetensors takes every model",
            key=f"model.reverse.{key}",
        )
    return words[0]
