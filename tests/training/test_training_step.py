"""What a training step draws, and at which learning rate it is made."""

import pytest
import torch
from lightning.pytorch import Callback

from lit_diffusion.modules import LinearWarmup
from lit_diffusion.seeding import derive_seed
from tests.conftest import TINY


class Seeds(Callback):
    """Remembers the seed of each step."""

    seen: list[int] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append(torch.initial_seed())


def test_every_step_draws_from_a_seed_of_its_own(command):
    """t, noise and dropout of a step are a function of (seed, step, rank)."""
    Seeds.seen.clear()
    callback = "--trainer.callbacks=tests.training.test_training_step.Seeds"
    command("fit", *TINY, "--trainer.max_steps=4", callback, "--seed_everything=3", "--run.name=here")
    assert Seeds.seen == [derive_seed(3, "train", step, 0) for step in range(4)]
    assert len({*Seeds.seen}) == 4


@pytest.mark.parametrize(("steps", "rates"), [(4, [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]), (0, [2.0] * 6)])
def test_the_learning_rate_grows_linearly_and_stays(steps, rates):
    """lr min(step / steps, 1)  (Ho et al. 2020, code); constant without warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, seen = LinearWarmup(optimizer, steps), []
    for _ in rates:
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert seen == rates
