"""W&B and SLURM, as a run would find them."""

import os
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec

from lit_diffusion.doctor.finding import WARNING, Finding, from_error, ok
from lit_diffusion.errors import ConfigError

SLURM = {
    "SLURM_JOB_PARTITION": "partition {}",
    "SLURM_JOB_NUM_NODES": "{} nodes",
    "SLURM_NTASKS": "{} tasks",
    "SLURM_CPUS_PER_TASK": "{} cores per task",
    "SLURM_JOB_GPUS": "GPUs {}",
    "SBATCH_SIGNAL": "signal {}",
    "SBATCH_REQUEUE": "requeued if ended",
    "SBATCH_NO_REQUEUE": "not requeued",
    "SLURM_RESTART_COUNT": "restarted {} times",
}


def examine_wandb() -> Iterator[Finding]:
    """Whether W&B is online and an account is set up, by the check that precedes a run. Never shows the key."""
    if find_spec("wandb") is None:
        return
    from lit_diffusion.runs.wandb_account import check_account

    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online":
        yield ok("W&B", f"WANDB_MODE={mode}: no account is needed", mode=mode, account=None)
        return
    try:
        check_account()
    except ConfigError as error:
        yield from_error("W&B", WARNING, error, mode=mode, account=False)
    else:
        yield ok("W&B", "an account is set up", mode=mode, account=True)


def examine_slurm() -> Iterator[Finding]:
    """The job that this process belongs to, according to the environment."""
    job, environment = os.environ.get("SLURM_JOB_ID"), os.environ
    if job is None:
        yield ok("SLURM", "not inside a job", job=None)
        return
    words = [text.format(environment[name]) for name, text in SLURM.items() if environment.get(name)]
    end = environment.get("SLURM_JOB_END_TIME", "")
    if end.isdecimal():
        words.append(f"ends {datetime.fromtimestamp(int(end)):%Y-%m-%d %H:%M}")
    yield ok("SLURM", ", ".join([f"job {job}", *words]), job=job)
