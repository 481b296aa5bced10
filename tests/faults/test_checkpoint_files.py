"""Checkpoints damaged in every way: passed over by `last`, refused by name, and nothing in them is executed."""

import os
import pickle
import random
from pathlib import Path

import pytest
import torch

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.checkpoint_files import newest, step_of

STEPS = ["--trainer.max_steps=6", "--checkpoint.every_n_steps=2", "--trainer.val_check_interval=3"]


@pytest.fixture
def run(toy_run):
    """A finished run: last.ckpt of step 6, step=4.ckpt and step=6.ckpt."""
    return toy_run(*STEPS)


class Payload:
    """A pickle that runs a command when it is read."""

    def __init__(self, touched: Path):
        self.touched = touched

    def __reduce__(self):
        return Path.touch, (self.touched,)


def empty(file: Path, touched: Path) -> None:
    file.write_bytes(b"")


def truncated(file: Path, touched: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def cut_in_the_middle(file: Path, touched: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped_in_the_weights(file: Path, touched: Path) -> None:
    content = bytearray(file.read_bytes())
    largest = max(torch.load(file, weights_only=True)["state_dict"].values(), key=torch.numel)
    content[content.find(largest.numpy().tobytes()) + largest.nbytes // 2] ^= 1
    file.write_bytes(content)


def noise(file: Path, touched: Path) -> None:
    file.write_bytes(random.Random(0).randbytes(10_000))


def pickled_code(file: Path, touched: Path) -> None:
    torch.save({"state_dict": Payload(touched), "optimizer_states": [], "global_step": 9}, file)


def bare_pickle(file: Path, touched: Path) -> None:
    file.write_bytes(pickle.dumps(Payload(touched)))


def no_checkpoint(file: Path, touched: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, file)


DAMAGES = [empty, truncated, cut_in_the_middle, flipped_in_the_weights, noise, pickled_code, bare_pickle, no_checkpoint]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_said(command, run, tmp_path, capsys, damage):
    """The one before is taken, and the run ends as it would have."""
    whole = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for name in ("last", "step=6", "best"):  # one file by three names
        damage(run / f"checkpoints/{name}.ckpt", tmp_path / "touched")
    command("fit", "-c", str(run / "config.yaml"), f"--run.dir={tmp_path}/runs", "--ckpt_path=last")
    said = capsys.readouterr().err
    assert all(f"{name}.ckpt is damaged or not a checkpoint" in said for name in ("last", "best"))
    again = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert again["global_step"] == 6 and all(torch.equal(again["state_dict"][key], whole[key]) for key in whole)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_that_is_named_is_one_line(command, run, tmp_path, damage):
    file = run / "checkpoints/last.ckpt"
    damage(file, tmp_path / "touched")
    with pytest.raises(ConfigError, match="damaged or not a checkpoint") as error:
        command("validate", "-c", str(run / "config.yaml"), f"--ckpt_path={file}")
    assert "\n" not in str(error.value) and not (tmp_path / "touched").exists()


def test_where_all_are_damaged_nothing_begins_anew(command, run):
    """Days of training are not discarded because of a damaged file."""
    for file in (run / "checkpoints").glob("*.ckpt"):
        file.write_bytes(b"")
    with pytest.raises(ConfigError, match="damaged"):
        command("fit", "-c", str(run / "config.yaml"), f"--run.dir={run.parent}", "--run.name=here", "--ckpt_path=last")
    assert (run / "metrics.csv").exists()


def test_of_four_hundred_flipped_bits_each_is_found_or_harmless(run):
    """Harmless: in the padding between two tensors, so that all that is read is as it was."""
    file = run / "checkpoints/last.ckpt"
    content, chance = file.read_bytes(), random.Random(0)
    before = torch.load(file, weights_only=True)
    found = 0
    for _ in range(400):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(flipped)
        if step_of(file) is None:
            found += 1
        else:
            after = torch.load(file, weights_only=True)
            assert all(torch.equal(after["state_dict"][k], v) for k, v in before["state_dict"].items())
            assert after["global_step"] == before["global_step"]
    assert found > 200


def test_another_architecture_is_refused_by_the_name_of_a_weight(command, run, tmp_path):
    with pytest.raises(ConfigError, match="holds another architecture: .* weights differ, first "):
        command(
            *("fit", "-c", str(run / "config.yaml"), f"--run.dir={run.parent}", "--run.name=here", "--ckpt_path=last"),
            "--model.reverse.network.width=16",
        )


def test_the_newest_is_found_among_leftovers(run):
    """What a killed process left half written is ignored without a message."""
    (run / "checkpoints/.last.0123abcd.unfinished.ckpt").write_bytes(b"half")
    assert newest(run / "checkpoints") == run / "checkpoints/last.ckpt"


PARTS = {
    "loops": 3,
    "callbacks": {"RunSummary": {"scores": 7}, "Timing": 3},
    "optimizer_states": [{"param_groups": []}],
    "state_dict": {"reverse.network": "none"},
    "divergence": {"losses": ["x"], "steps": 3, "levels": None},
    "current_model_state": {},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_whole_file_with_a_part_of_another_kind_is_one_line(command, run, part):
    file = run / "checkpoints/last.ckpt"
    torch.save({**torch.load(file, weights_only=True), part: PARTS[part]}, file)
    with pytest.raises(ConfigError, match="damaged|another|is not of this run") as error:
        command("fit", "-c", str(run / "config.yaml"), f"--ckpt_path={file}", "--run.name=there")
    assert "\n" not in str(error.value)


def test_what_is_not_a_file_is_passed_over(run):
    """A pipe would be waited for, a device be read without end."""
    os.mkfifo(run / "checkpoints/step=12.ckpt")
    (run / "checkpoints/step=11.ckpt").symlink_to("/dev/zero")
    (run / "checkpoints/step=10.ckpt").mkdir()
    assert newest(run / "checkpoints") == run / "checkpoints/last.ckpt"
