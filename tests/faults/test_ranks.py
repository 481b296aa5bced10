"""One rank that fails ends all, with its own error first."""

import re
import time

import pytest
from lightning.pytorch import Callback

from tests.conftest import TINY
from tests.processes import Process

pytestmark = pytest.mark.slow


class Failing(Callback):
    """Fails on one rank, in training or in the middle of validation."""

    def __init__(self, rank: int, hook: str):
        self.rank, self.hook = rank, hook

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.hook == "train" and trainer.global_rank == self.rank and trainer.global_step == 4:
            raise RuntimeError("a cosmic ray")

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if self.hook == "validation" and trainer.global_rank == self.rank and trainer.global_step == 4:
            raise RuntimeError("a cosmic ray")


@pytest.mark.parametrize(("rank", "hook"), [(0, "validation"), (1, "train")])
def test_the_error_of_one_rank_ends_all_within_seconds(tmp_path, rank, hook):
    """And is the first that the output says; the run is a failed one."""
    failing = f'{{"class_path": "tests.faults.test_ranks.Failing", "init_args": {{"rank": {rank}, "hook": "{hook}"}}}}'
    options = [
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--trainer.max_steps=100",
        "--trainer.val_check_interval=4",
    ]
    begin = time.monotonic()
    process = Process(["fit", *TINY, *options, f"--trainer.callbacks+={failing}"], tmp_path, spares=1)
    output, _ = process.communicate(120)
    assert process.returncode != 0 and time.monotonic() - begin < 90
    assert re.search(r"\w*Error: (.*)", output)[1] == "a cosmic ray", output
