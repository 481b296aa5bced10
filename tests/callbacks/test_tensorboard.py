"""What TensorBoard shows of a run, read back from its event files."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_diffusion.callbacks.metrics_file import read_rows
from lit_diffusion.errors import ConfigError
from tests.conftest import TINY
from tests.processes import Process

LOGGED = [
    "--trainer.logger=TensorBoard",
    "--trainer.max_steps=6",
    "--trainer.val_check_interval=3",
    "--checkpoint.every_n_steps=4",
    "--grids.every_n_steps=5",
    "--grids.num_images=4",
    "--bits_per_dim.splits=[test]",
    "--bits_per_dim.terms=2",
]


@pytest.fixture
def run(toy_run) -> Path:
    return toy_run(*LOGGED)


def read(run: Path) -> EventAccumulator:
    """All that the folder holds, as TensorBoard reads it but for the purge of what a restart repeats."""
    sizes = {"scalars": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(run / "tensorboard"), sizes, purge_orphaned_data=False).Reload()


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve, without the speed, which is another every time."""
    events = read(run)
    curves = {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return {tag: curve for tag, curve in curves.items() if tag not in ("images_per_second", "epoch")}


def leave_step_4(run: Path) -> None:
    for name in ("best", "last"):
        (run / f"checkpoints/{name}.ckpt").unlink()


def test_curves_and_scores_are_those_of_metrics_csv(run):
    rows, curves = read_rows(run / "metrics.csv"), scalars(run)
    assert curves.keys() == {"train/loss", "val/loss", "bits_per_dim/test"}
    for tag, curve in curves.items():
        expected = [(int(row["step"]), float(row[tag])) for row in rows if tag in row]
        assert [step for step, _ in curve] == [step for step, _ in expected]
        assert [value for _, value in curve] == pytest.approx([value for _, value in expected], rel=1e-6)


def test_pictures_are_those_of_the_folder(run):
    events = read(run)
    for tag, steps in {"samples": [5, 6], "chain": [5, 6], "x_0": [5, 6], "data": [0], "forward": [0]}.items():
        found = events.Images(tag)
        assert [one.step for one in found] == steps
        for one in found:
            file = f"{tag}.png" if tag in ("data", "forward") else f"{one.step:08d}_{tag}.png"
            ours, theirs = (Image.open(source).convert("RGB") for source in (
                io.BytesIO(one.encoded_image_string), run / "samples" / file,
            ))  # fmt: skip
            assert np.array_equal(np.asarray(ours), np.asarray(theirs)), file


def test_settings_are_those_of_the_summary(run):
    """As a text, and in the table that compares runs."""
    events, settings = read(run), json.loads((run / "summary.json").read_text())["settings"]
    (text,) = events.Tensors("settings/text_summary")
    assert yaml.safe_load(text.tensor_proto.string_val[0]) == settings
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"model.reverse.network.width" in content and b"LinearSchedule" in content


def test_a_resumed_run_goes_on_in_the_same_files_with_each_step_once(command, run):
    """As after a death at step 6, the last checkpoint being that of step 4."""
    unbroken = scalars(run)
    leave_step_4(run)
    command("fit", "-c", str(run / "config.yaml"), "--ckpt_path=last")
    assert scalars(run) == unbroken
    assert [one.step for one in read(run).Images("samples")] == [5, 6]
    assert [one.step for one in read(run).Tensors("settings/text_summary")] == [0, 4]
    assert [path.name for path in run.parent.iterdir()] == ["here"]


def test_a_run_that_begins_again_has_each_step_once(command, run):
    """Killed before its first checkpoint: what it had logged is gone with its metrics.csv."""
    unbroken = scalars(run)
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    command("fit", *TINY, *LOGGED, "--run.name=here", "--ckpt_path=last")
    assert scalars(run) == unbroken
    assert [one.step for one in read(run).Images("samples")] == [5, 6]


def test_what_precedes_a_pause_of_the_logger_stays(command, run):
    """Resumed without it, then with it again: the curve has a gap, and no step twice."""
    leave_step_4(run)
    for end, logger in ((5, ["--trainer.logger=false"]), (7, ["--trainer.logger=TensorBoard"])):
        options = ["--ckpt_path=last", f"--trainer.max_steps={end}", *logger]
        command("fit", "-c", str(run / "config.yaml"), *options)
    assert [step for step, _ in scalars(run)["train/loss"]] == [0, 1, 2, 3, 5, 6]


def test_lightnings_own_logger_becomes_ours(parse):
    """With what is set, but for the folder, which is the run's."""
    options = ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=elsewhere", "--run.name=here"]
    cli = parse(*TINY, *options, "--trainer.logger.prefix=mine", "--trainer.logger.version=3")
    logger = cli.trainer.loggers[0]
    assert type(logger).__name__ == "TensorBoard" and Path(logger.log_dir) == Path("runs/here/tensorboard")
    logger.log_metrics({"x": 1.0}, step=0)
    logger.save()
    assert scalars(Path("runs/here")) == {"mine-x": [(0, 1.0)]}


def test_of_two_processes_the_first_logs_and_several_loggers_log_at_once(tmp_path):
    loggers = '[{"class_path": "TensorBoard"}, {"class_path": "CSVLogger", "init_args": {"save_dir": "csv"}}]'
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", f"--trainer.logger={loggers}", *LOGGED[1:3]]
    process = Process(["fit", *TINY, *options, "--run.name=here"], tmp_path, spares=1)
    output, _ = process.communicate(240)
    assert process.returncode == 0, output
    assert [step for step, _ in scalars(tmp_path / "runs/here")["train/loss"]] == [*range(6)]
    assert len(list((tmp_path / "runs/here/tensorboard").iterdir())) == 1
    assert [row["step"] for row in read_rows(next(tmp_path.glob("csv/**/metrics.csv"))) if "train/loss" in row]


def test_a_missing_package_is_named_with_how_to_install_it(parse, monkeypatch):
    monkeypatch.setattr("lit_diffusion.training.run_loggers.find_spec", lambda name: None)
    expected = (
        "command line: trainer.logger: expected the package tensorboard to be installed; "
        "run `pip install 'lit_diffusion[tensorboard]'`"
    )
    with pytest.raises(ConfigError) as error:
        parse(*TINY, "--trainer.logger=TensorBoard")
    assert str(error.value) == expected and not [*Path("runs").glob("*")]
