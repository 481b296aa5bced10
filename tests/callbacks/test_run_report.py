"""What a run says: its start, its end, its scores in one style, and nothing of its bars in W&B's log."""

import io
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from lit_diffusion.callbacks.progress import RunProgress
from lit_diffusion.callbacks.run_report import missing_validation
from tests.conftest import TINY

FIT = ["--trainer.max_steps=3", "--bits_per_dim.splits=[test]", "--bits_per_dim.terms=2", "--grids.every_n_steps=3"]


def list_scores(printed: str) -> dict[str, str]:
    """The scores of the lists, by name."""
    return dict(re.findall(r"^  (\S+) {2,}(\S.*)$", printed, re.MULTILINE))


def test_a_fit_says_where_it_writes_what_it_trains_and_what_to_look_at(command, capsys):
    command("fit", *TINY, *FIT, "--grids.num_images=2", "--run.name=[red]here:x:")
    first, second, *_, last = capsys.readouterr().out.splitlines()
    assert first == "runs/[red]here:x:: steps 0 to 3, batches of 32, on cpu"
    summary = json.loads(Path("runs/[red]here:x:/summary.json").read_text())
    assert re.fullmatch(r"Digits: 1,500 training and 297 test images of 1x8x8; UNet: [0-9,]+ parameters", second)
    begin, _, named = last.partition("; look at ")
    assert begin == "finished: runs/[red]here:x:" and summary["status"] == "finished"
    assert [Path(name).name for name in named.split(", ")] == ["00000003_samples.png", "metrics.csv", "summary.json"]
    assert all(Path(name).is_file() for name in named.split(", "))
    command("fit", "-c", "runs/[red]here:x:/config.yaml", "--ckpt_path=last", "--trainer.max_steps=4")
    assert capsys.readouterr().out.startswith("runs/[red]here:x:: steps 3 to 4, ")


def test_validate_and_test_print_one_list_of_scores(command, toy_run, capsys):
    """The same numbers, with their spreads, under what they were measured by; no table of Lightning's."""
    toy_run(*FIT, "--grids.every_n_steps=0")
    capsys.readouterr()
    scored = ["-c", "runs/here/config.yaml", "--ckpt_path=last", "--scores.num_samples=10"]
    found = []
    for name in ("validate", "test"):
        command(name, *scored)
        printed = capsys.readouterr().out
        assert "━" not in printed and printed.startswith("runs/here/checkpoints/last.ckpt, step 3, on cpu; Digits: ")
        assert (
            "\nTorchFidelity on digits-classifier, 10 samples of AncestralSampler in 7 steps, ema weights:\n" in printed
        )
        assert "\n2 of 7 terms an image, ema weights:\n" in printed
        assert "\nloss of 297 test examples, ema weights:\n" in printed
        found.append(list_scores(printed))
    validated, tested = found
    assert [*validated] == ["fid", "inception_score", "kid", "precision", "recall", "bits_per_dim/test", "val/loss"]
    assert validated.pop("val/loss") == tested.pop("test/loss") and validated == tested
    assert re.fullmatch(r"\d+\.\d+ ± \d+\.\d+", validated["bits_per_dim/test"])
    assert printed.endswith("finished: runs/here/summary.json has these scores\n")
    command("test", *scored, "--verbose=false")
    assert "test/loss" not in capsys.readouterr().out
    command("validate", *scored[:3], "--bits_per_dim.splits=[]", "--trainer.limit_val_batches=3")  # of 32
    assert "\nloss of the first 96 of 297 test examples, ema weights:\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("interval", "epochs", "window", "end", "first"),  # an epoch has 46 batches; None: a validation happens
    [
        (100, None, 1, 20, 100),
        (20, None, 1, 20, None),
        (10, None, 3, 3, 4),
        (10, None, 3, 4, None),
        (46, 1, 1, 45, 46),
        (46, 1, 1, 46, None),
        (46, 2, 1, 91, 92),
        (23, 2, 1, 69, None),
        (23, 2, 1, 68, 69),
        (None, None, 1, 20, None),
        (100, None, 1, math.inf, None),
    ],
)
def test_a_run_without_a_validation_is_found_at_its_start(interval, epochs, window, end, first):
    """The step of the first one, however it is set; unknown if the clock sets it. The advice leads to one."""

    def missing(interval, epochs, test=10):
        trainer = SimpleNamespace(
            val_check_batch=interval, check_val_every_n_epoch=epochs, accumulate_grad_batches=window, global_step=0
        )
        trainer.datamodule = SimpleNamespace(sizes={"test": test})
        trainer.enable_validation, trainer.num_training_batches, trainer.estimated_stepping_batches = True, 46, end
        return missing_validation(trainer)

    said = missing(interval, epochs)
    if first is None:
        assert said is None
        return
    assert f"no validation happens before the end at step {end}: the first would be at step {first}; use" in said
    assert said.startswith("trainer.check_val_every_n_epoch: " if epochs else "trainer.val_check_interval: ")
    assert missing(int(said.rpartition("=")[2]), None) is None and missing(interval, epochs, test=0) is None


def test_a_run_without_a_validation_says_so_unless_that_is_wished(command, capsys):
    """One that has none by its settings has said so already."""
    for option, said in (("--trainer.check_val_every_n_epoch=1", True), ("--trainer.limit_val_batches=0", False)):
        command("fit", *TINY, "--trainer.max_steps=2", "--ema.decay=0", option)
        assert ("first would be at step 46; use" in capsys.readouterr().err) == said


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_what_wandb_copies_of_the_output_has_the_messages_and_none_of_the_bars(monkeypatch):
    """W&B replaces the `write` of the standard streams; each redraw of a bar would be a line of its log."""
    monkeypatch.setenv("TERM", "xterm")
    terminal, copied = Terminal(), []

    def write(text: str) -> int:
        copied.append(text)
        return io.StringIO.write(terminal, text)

    terminal.write = write  # type: ignore[method-assign]
    progress = RunProgress(file=terminal)
    trainer = SimpleNamespace(estimated_stepping_batches=10, global_step=0)
    progress.on_train_start(trainer, None)
    for n in range(5):
        with progress.task("sampling", 100, "images") as advance:
            advance(50)
            progress.print(f"samples {n}: 2.87 ± 0.02", highlight=False)
    progress.on_train_end(trainer, None)
    assert "".join(copied) == "".join(f"samples {n}: 2.87 ± 0.02\n" for n in range(5))
    shown = terminal.getvalue()
    assert "training" in shown and "sampling" in shown and "samples 4: 2.87 ± 0.02\n" in shown
    assert shown.index("samples 0") < shown.rindex("training")  # the bars come back below a message
