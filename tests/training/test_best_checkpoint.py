"""Which step is kept as the best."""

from types import SimpleNamespace

import pytest

from lit_diffusion.callbacks import Checkpoints
from lit_diffusion.callbacks.checkpoints import is_over
from lit_diffusion.runs.atomic_files import written_whole


@pytest.fixture
def offer(tmp_path):
    """offer(step, value): a step whose monitored value is offered; returns the step that best.ckpt is of."""
    checkpoints, folder = Checkpoints(every_n_steps=100), tmp_path / "checkpoints"
    folder.mkdir()

    def run(step: int, value: float | None, name: str = "val/loss") -> str | None:
        def save(file) -> None:
            with written_whole(file) as temporary:  # files are links to each other
                temporary.write_text(str(step))

        trainer = SimpleNamespace(default_root_dir=str(tmp_path), global_step=step, is_global_zero=True)
        trainer.save_checkpoint = save
        checkpoints.offer(trainer, name, value)
        best = folder / "best.ckpt"
        return best.read_text() if best.exists() else None

    return run


def test_the_best_checkpoint_is_that_of_the_lowest_value(offer):
    """Worse values, values that are not finite, missing ones and other scores change nothing."""
    assert offer(1, 3.0) == "1"
    assert offer(2, 4.0) == "1"
    assert offer(3, 2.0) == "3"
    assert offer(4, float("nan")) == offer(5, None) == offer(6, 1.0, "track/fid") == "3"
    assert offer(7, 2.5) == "3"
    assert offer(8, 0.5) == "8"


@pytest.mark.parametrize(
    ("step", "epoch", "over"), [(5, 1, False), (9, 2, False), (10, 1, False), (10, 2, True), (20, 0, True)]
)
def test_a_request_to_stop_is_the_end_once_the_fewest_steps_and_epochs_are_done(step, epoch, over):
    """Lightning trains on before; a run that thought itself over would save twice at every step."""
    trainer = SimpleNamespace(should_stop=True, min_steps=10, min_epochs=2, estimated_stepping_batches=20)
    trainer.global_step, trainer.current_epoch = step, epoch
    assert is_over(trainer) is over
    trainer.should_stop = False
    assert is_over(trainer) is (step == 20)
