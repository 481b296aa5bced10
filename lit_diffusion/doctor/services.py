"""W&B and SLURM: what a run would find of them."""

import os
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec

from lit_diffusion.doctor.finding import WARNING, Finding, of_error, ok
from lit_diffusion.errors import ConfigError

SLURM = {
    "SLURM_JOB_PARTITION": "partition {}",
    "SLURM_JOB_NUM_NODES": "{} nodes",
    "SLURM_NTASKS": "{} tasks",
    "SLURM_CPUS_PER_TASK": "{} cores a task",
    "SLURM_JOB_GPUS": "GPUs {}",
    "SBATCH_SIGNAL": "signal {}",
    "SBATCH_REQUEUE": "requeued if it is ended",
    "SBATCH_NO_REQUEUE": "not requeued",
    "SLURM_RESTART_COUNT": "restarted {} times",
}


def wandb() -> Iterator[Finding]:
    """Whether W&B is online here and an account is known, by the check that precedes a run. The key is not shown."""
    mode = os.environ.get("WANDB_MODE")
    if find_spec("wandb") is None:
        return
    from lit_diffusion.runs.wandb_account import check_account

    try:
        if mode in (None, "online"):
            check_account()
    except ConfigError as error:
        yield of_error("W&B", WARNING, error, mode=mode or "online", account=False)
        return
    if mode in (None, "online"):
        yield ok("W&B", "an account is known", mode="online", account=True)
    else:
        yield ok("W&B", f"WANDB_MODE={mode}: no account is needed", mode=mode, account=None)


def slurm() -> Iterator[Finding]:
    """The job that this is, as far as the environment tells."""
    job, environment = os.environ.get("SLURM_JOB_ID"), os.environ
    if job is None:
        yield ok("SLURM", "not inside a job", job=None)
        return
    words = [text.format(environment[name]) for name, text in SLURM.items() if environment.get(name)]
    end = environment.get("SLURM_JOB_END_TIME", "")
    if end.isdecimal():
        words.append(f"ends {datetime.fromtimestamp(int(end)):%Y-%m-%d %H:%M}")
    yield ok("SLURM", ", ".join([f"job {job}", *words]), job=job)
