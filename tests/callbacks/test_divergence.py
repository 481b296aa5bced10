"""A run that diverges ends, with the step and the reason; one that only struggles goes on."""

import json
import math
import random

import pytest

from lit_diffusion.callbacks import Divergence
from lit_diffusion.errors import ConfigError
from tests.conftest import TINY


def judge(losses: list[float], **options: float) -> str | None:
    """The verdict of a Divergence that sees these losses, five at a time."""
    divergence = Divergence(every_n_steps=5, **options)
    for first in range(0, len(losses), 5):
        reason = divergence._judge(losses[first : first + 5], list(range(first + 1, first + 6)))
        if reason:
            return reason
    return None


FALLING = [1 / (1 + step) for step in range(50)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step(bad):
    """One is enough, wherever it stands among those that are looked at together."""
    assert judge([*FALLING[:12], bad, *FALLING]) == f"the loss is {bad:g} at step 13"


def test_a_loss_that_explodes_against_its_own_history_is_named():
    """From 0.02, after a fall of 0.98, to 200: more than a hundred times the fall."""
    reason = judge([*FALLING, *[200.0] * 10])
    assert reason == "the loss has grown from 0.02083 to 200 by step 55"
    assert judge([*FALLING, *[90.0] * 10]) is None
    assert judge([*FALLING, *[200.0] * 10], factor=1000) is None
    assert judge([*FALLING, *[200.0] * 10], factor=0) is None


def test_what_is_not_an_explosion_lets_a_run_go_on():
    """Falling, noisy, heavy-tailed with single spikes, back to where it started, and negative losses."""
    noise = random.Random(0)
    assert judge(FALLING) is None
    assert judge([noise.lognormvariate(0, 1.5) for _ in range(500)]) is None
    assert judge([*FALLING, 1e6, *FALLING, 1e9, *FALLING]) is None
    assert judge([*FALLING, *[1.0] * 50]) is None
    assert judge([-3.0 - value for value in FALLING]) is None
    assert "grown from -4" in judge([*[-3.0] * 5, *[-4.0] * 5, *[500.0] * 5])


def test_an_explosion_at_once_is_measured_by_the_first_loss():
    """The level of the first losses is that of the explosion itself."""
    assert judge([1.0, *[1e6] * 20]) == "the loss has grown from 1 to 1e+06 by step 5"


def test_a_few_last_losses_are_not_a_level():
    """At the end of training fewer are left than are looked at together: only whether they are finite counts."""
    divergence = Divergence(every_n_steps=5)
    assert divergence._judge([0.01] * 5, [1, 2, 3, 4, 5]) is None
    assert divergence._judge([9.0], [6]) is None
    assert divergence._judge([math.nan], [6]) == "the loss is nan at step 6"


def test_a_resumed_history_is_the_unbroken_one():
    """The losses that nobody has looked at yet, and the levels so far, are part of a checkpoint."""
    before = Divergence(every_n_steps=5)
    assert before._judge(FALLING[:5], [1, 2, 3, 4, 5]) is None
    after = Divergence(every_n_steps=5)
    checkpoint: dict = {}
    before.on_save_checkpoint(None, None, checkpoint)
    after.on_load_checkpoint(None, None, json.loads(json.dumps(checkpoint)))
    assert after._judge([90.0] * 5, [6, 7, 8, 9, 10]) == "the loss has grown from 0.3333 to 90 by step 10"


def test_a_diverging_run_ends_within_a_hundred_steps_as_diverged(command, tmp_path, capsys):
    """No exit status, no scores, no pictures: a result."""
    absurd = ["--model.optimizer.lr=1e6", "--trainer.gradient_clip_val=null", "--grids.every_n_steps=10000"]
    command("fit", *TINY, *absurd, "--trainer.max_steps=1000", "--scores.num_samples=20", "--run.name=here")
    summary = json.loads((tmp_path / "runs/here/summary.json").read_text())
    assert summary["status"] == "diverged" and summary["scores"] == {}
    assert summary["reason"].startswith("the loss is nan at step ")
    assert summary["step"] <= int(summary["reason"].split()[-1]) + 100
    assert f"diverged: {summary['reason']}" in capsys.readouterr().out
    assert not list((tmp_path / "runs/here/samples").glob("*_samples.png"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps: expected 1 or more, got 0"),
        ({"factor": -1.0}, "factor: expected a positive number"),
        ({"factor": math.inf}, "factor: expected a positive number"),
    ],
)
def test_senseless_settings_are_refused(options, message):
    """Each with what to write."""
    with pytest.raises(ConfigError, match=message):
        Divergence(**options)
