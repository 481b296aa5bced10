"""Which of the steps 1..T a chain of fewer steps visits."""

import torch
from torch import Tensor

from lit_diffusion.diffusion.schedule import LOG_ZERO, NoiseSchedule


def uniform(schedule: NoiseSchedule, count: int) -> list[int]:
    """Evenly spread over t, as in Nichol & Dhariwal 2021."""
    return [1 + round(i * (schedule.num_steps - 1) / (count - 1)) for i in range(count)]


def quadratic(schedule: NoiseSchedule, count: int) -> list[int]:
    """sqrt(t - 1) evenly spread: close to each other where there is little noise  (Song et al. 2020, appendix D.2)."""
    return ascending([1 + round((i / (count - 1)) ** 2 * (schedule.num_steps - 1)) for i in range(count)], schedule)


def log_snr(schedule: NoiseSchedule, count: int) -> list[int]:
    """log SNR evenly spread and moved to the nearest steps  (Lu et al. 2022, arXiv 2206.00927, section 3.3).

    A last step without any signal, and first steps without noise, lie outside: both ends are visited nevertheless.
    """
    table = schedule.table[1:]
    inside = (table > LOG_ZERO) & (table < 0)
    if inside.sum() < 2:
        return uniform(schedule, count)
    steps = schedule.steps()[inside]
    falling: Tensor = -(table - (-torch.expm1(table)).log())[inside]  # ascending
    wanted = torch.linspace(falling[0].item(), falling[-1].item(), count, dtype=torch.float64)
    nearest = steps[torch.searchsorted((falling[1:] + falling[:-1]) / 2, wanted)].tolist()
    return ascending([1, *nearest[1:-1], schedule.num_steps], schedule)


def ascending(steps: list[int], schedule: NoiseSchedule) -> list[int]:
    """As many distinct steps: those that coincide move up, and down again from T."""
    result = list(steps)
    for i in range(1, len(result)):
        result[i] = max(result[i], result[i - 1] + 1)
    return [min(step, schedule.num_steps - (len(result) - 1 - i)) for i, step in enumerate(result)]


SPACINGS = {"uniform": uniform, "quadratic": quadratic, "log_snr": log_snr}
