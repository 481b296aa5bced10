"""Mistakes of a user: one line with where, what and what to write; exit status 2; nothing left behind."""

import collections
import subprocess

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from PIL import Image

from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import run_folder
from tests.conftest import CONFIGS, TINY
from tests.processes import run

JSD = "--model.reverse.process.schedule=JSDSchedule"
LINE = "command line: "

# options after those of TINY, and what the line must say: where, what, what to write
OPTIONS = {
    "unknown key": (
        ["--model.bogus=3"],
        LINE + "model.bogus: no such setting; use one of reverse, objective",
    ),
    "unknown option": (["--bogus=3"], LINE + "bogus: no such option"),
    "unknown class": (
        ["--model.reverse.variance=LearnedRang"],
        LINE + "model.reverse.variance: no class LearnedRang; use LearnedRange",
    ),
    "class of another kind": (["--model.reverse.variance=Epsilon"], "use one of BetaVariance, LearnedDiagonal"),
    "unknown network setting": (
        ["--model.reverse.network.widht=8"],
        "model.reverse.network.widht: no such setting; use width",
    ),
    "wrong type": (["--trainer.max_steps=abc"], LINE + "trainer.max_steps: expected a whole number, got abc"),
    "wrong type deep inside": (
        ["--model.optimizer.lr=abc"],
        "model.optimizer.lr: expected a number, got abc",
    ),
    "no such choice": (
        ["--model.objective=VariationalBound", "--model.objective.scale=foo"],
        "model.objective.scale: expected one of per_term, times_T; got foo",
    ),
    "dangling interpolation": (["--data.batch_size=${nowhere}"], "nowhere"),
    "channels against data": (
        ["--model.reverse.channels=3"],
        "model.reverse.channels: expected the data's 1 channels, got 3; set",
    ),
    "levels against data": (
        ["--model.reverse.decoder.num_levels=256"],
        "expected a decoder for the data's 17 levels, got one for 256 levels; set",
    ),
    "channels against variance": (
        ["--model.reverse.network=tests.test_bad_input.OneChannel"],
        "model.reverse.network: expected 1 output channels, which BetaVariance needs for examples of 1, got 3",
    ),
    "image size against network": (
        ["--model.reverse.network.multipliers=[1,1,1,1,1]"],
        "model.reverse.network.multipliers",
    ),
    "network options that do not fit": (
        ["--model.reverse.network.groups=3"],
        LINE + "model.reverse.network: UNet.groups: 3 groups do not divide width 8; set groups:",
    ),
    "network that cannot be built": (
        ["--model.reverse.network=torch.nn.ReLU"],
        "model.reverse.network",
    ),
    "network for other images": (
        ["--model.reverse.network=tests.test_bad_input.Wants64Pixels"],
        "model.reverse.network: the network cannot be called with examples of shape (1, 8, 8) and steps",
    ),
    "a model of Lightning's that is none of ours": (
        ["--model=tests.test_bad_input.ForeignModel"],
        LINE + "model: expected a subclass of GenerativeModule, got tests.test_bad_input.ForeignModel; use",
    ),
    "data of Lightning's that are none of ours": (
        ["--data=tests.test_bad_input.ForeignData"],
        LINE + "data: expected a subclass of ImageData, got tests.test_bad_input.ForeignData; use the name",
    ),
    "optimizer that refuses its settings": (
        ["--model.optimizer.lr=-1"],
        LINE + "model.optimizer.lr: Invalid learning rate",
    ),
    "trainer that refuses its settings": (["--trainer.devices=-3"], LINE + "trainer.devices: "),
    "a validation every 0 steps": (
        ["--trainer.val_check_interval=0"],
        LINE + "trainer.val_check_interval: expected 1 or more",
    ),
    "a run name that is a path": (["--run.name=a/b"], LINE + "run.name: expected a name, got the path a/b"),
    "data without its folder's name": (["--data=ImageFolder", "--data.size=8"], "root"),
    "batches that devices cannot share": (
        ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.eval_batch_size=33"],
        LINE + "data.eval_batch_size: expected a multiple of 2",
    ),
    "L_simple with a learned variance": (
        ["--model.reverse.variance=LearnedDiagonal"],
        "model.objective: Simple does not train a variance, but model.reverse.variance is LearnedDiagonal; use",
    ),
    "hybrid with a fixed variance": (
        ["--model.objective=Hybrid"],
        "model.objective: Hybrid trains a variance by the bound",
    ),
    "beta outside [0, 1]": (
        ["--model.reverse.process.schedule.beta_end=2"],
        LINE + "model.reverse.process.schedule: expected every beta of LinearSchedule in [0, 1], got beta_4 = 1.00005",
    ),
    "jsd with epsilon": (
        [JSD],
        "Epsilon does not determine x_0 at step 7 of JSDSchedule, where alpha_bar is 0; use CleanImage",
    ),
    "more sampling steps than T": (
        ["--model.sampler.steps=8"],
        "AncestralSampler.steps: expected at most the model's T = 7, got 8",
    ),
    "eta below 0": (
        ["--model.sampler=DDIMSampler", "--model.sampler.eta=-0.1"],
        LINE + "model.sampler: DDIMSampler.eta: expected a number in [0, 1], got -0.1",
    ),
    "more steps of a solver than T": (
        ["--model.sampler=HeunSampler", "--model.sampler.steps=8"],
        "HeunSampler.steps: expected at most the model's T = 7, got 8",
    ),
    "a solver of another order": (
        ["--model.sampler=DPMSolverPlusPlusSampler", "--model.sampler.order=3"],
        LINE + "model.sampler: DPMSolverPlusPlusSampler.order: expected 1 or 2, got 3",
    ),
    "a spacing of listed steps": (
        ["--model.sampler.steps=[1, 3]", "--model.sampler.spacing=log_snr"],
        LINE
        + "model.sampler: AncestralSampler.spacing: expected the number of steps with log_snr, got a list of steps",
    ),
    "steps out of order": (["--model.sampler.steps=[3, 2]"], "model.sampler"),
    "batch larger than the data": (
        ["--data.batch_size=1501"],
        LINE + "data.batch_size: expected 1 to 1500",
    ),
    "decay outside [0, 1)": (["--ema.decay=1"], LINE + "ema.decay: expected a number in [0, 1), got 1"),
    "no pictures at all": (["--grids.num_images=0"], LINE + "grids.num_images: expected 1 or more, got 0"),
    "missing folder": (
        ["--data=ImageFolder", "--data.root=nowhere", "--data.size=8", "--data.batch_size=2"],
        LINE + "data.root: expected a folder of images, but 'nowhere' is not a folder",
    ),
    "empty folder": (
        ["--data=ImageFolder", "--data.root=.", "--data.size=8", "--data.batch_size=2"],
        LINE + "data.root: ",
    ),
    "missing checkpoint": (
        ["--ckpt_path=nowhere.ckpt"],
        LINE + "ckpt_path: nowhere.ckpt: no such checkpoint; use",
    ),
    "missing last checkpoint": (
        ["--ckpt_path=last"],
        "ckpt_path: runs/digits-",
    ),
    "missing file": (["-c", "nowhere.yaml"], "nowhere.yaml: no such file; shipped ones are configs/"),
    "run folder that cannot be made": (["--run.dir=/proc/nowhere"], LINE + "run.dir: cannot write /proc/nowhere"),
}
FILES = {
    "syntax": (
        "model: [1\nb: 2\n",
        "bad.yaml, line 2, column 2: not valid YAML: expected ',' or ']', but got ':'; fix",
    ),
    "no mapping": ("- 1\n", "bad.yaml: expected settings such as"),
    "config key": ("config: other.yaml\n", "bad.yaml: config: files cannot include files"),
    "unknown key": ("model: {init_args: {bogus: 1}}\n", "bad.yaml: model.bogus: no such setting"),
    "unknown class": (
        "model: {init_args: {reverse: {init_args: {parameterization: Epsilom}}}}\n",
        "bad.yaml: model.reverse.parameterization: no class Epsilom; use Epsilon",
    ),
    "wrong type": ("trainer: {max_steps: abc}\n", "bad.yaml: trainer.max_steps: expected a whole number, got abc"),
    "contradiction": (
        "model: {init_args: {objective: Hybrid}}\n",
        "bad.yaml: model.objective: Hybrid trains a variance by the bound, but model.reverse.variance is BetaVariance",
    ),
}


class OneChannel(torch.nn.Module):
    """A network that does not take its channels from its arguments."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, t):
        return x.expand(-1, 3, -1, -1) * self.weight


class ForeignModel(LightningModule):
    """A LightningModule that is not a GenerativeModule."""


class ForeignData(LightningDataModule):
    """A LightningDataModule that is not an ImageData."""


class Wants64Pixels(torch.nn.Linear):
    """A network for other images than the data's."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(64, 64)

    def forward(self, x, t):
        return super().forward(x)


def mistake(command, *arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        command("fit", *TINY, *arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("options", "said"), OPTIONS.values(), ids=OPTIONS)
def test_a_mistake_on_the_command_line_is_one_line_and_leaves_nothing(command, tmp_path, options, said):
    """Where, what, and what to write; no run folder."""
    assert said in mistake(command, *options)
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(("content", "said"), FILES.values(), ids=FILES)
def test_a_mistake_in_a_file_names_the_file(command, tmp_path, content, said):
    """The file and the key, or the line."""
    (tmp_path / "bad.yaml").write_text(content)
    assert mistake(command, "-c", "bad.yaml").startswith(said)
    assert not list(tmp_path.glob("runs/*"))


def test_a_broken_image_is_named(command, tmp_path):
    """Which of the files, before training begins."""
    for name in ("a", "b"):
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    data = [
        "--data=ImageFolder",
        f"--data.root={tmp_path}",
        "--data.size=8",
        "--data.channels=1",
        "--data.batch_size=1",
    ]
    assert "b.png" in mistake(command, *data, "--model.reverse.decoder.num_levels=256", "--data.num_workers=0")
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "code"])
def test_a_damaged_checkpoint_is_named_and_runs_no_code(command, toy_run, tmp_path, damage):
    """Weights are read from whole files of tensors only."""
    toy_run("--trainer.max_steps=1", name="good")
    content = (tmp_path / "runs/good/checkpoints/last.ckpt").read_bytes()
    bad = tmp_path / "bad.ckpt"
    bad.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"hello"}.get(damage, b""))
    if damage == "code":
        torch.save({"state_dict": collections.Counter, "x": subprocess.Popen}, bad)
    assert f"ckpt_path: {bad} is damaged or not a checkpoint of lit_diffusion" in mistake(command, f"--ckpt_path={bad}")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["good"]


def test_a_checkpoint_of_another_architecture_names_the_first_difference(command, toy_run, tmp_path):
    """Both shapes are said."""
    toy_run("--trainer.max_steps=1", name="good")
    message = mistake(command, "--ckpt_path=runs/good/checkpoints/last.ckpt", "--model.reverse.network.width=16")
    assert "holds another architecture" in message
    assert "(8, 1, 3, 3) in the file and (16, 1, 3, 3) in the model" in message or "first reverse.network." in message


def test_a_checkpoint_of_another_optimizer_is_refused(command, toy_run, tmp_path):
    """Adam's state does not fit SGD."""
    toy_run("--trainer.max_steps=1", name="good")
    other = ["--model.optimizer=torch.optim.SGD", "--ckpt_path=runs/good/checkpoints/last.ckpt"]
    assert "holds the state of another optimizer than SGD" in mistake(command, *other)


def test_scoring_takes_no_checkpoint_but_the_one_that_is_named(command, toy_run, tmp_path):
    """A resumed run's configuration does not remember where it came from."""
    toy_run("--trainer.max_steps=1", name="good")
    command("fit", "-c", "runs/good/config.yaml", "--trainer.max_steps=2", "--ckpt_path=last")
    with pytest.raises(ConfigError, match="ckpt_path: no checkpoint given; use --ckpt_path last"):
        command("validate", "-c", "runs/good/config.yaml")


def test_an_existing_run_folder_is_left_alone(command, tmp_path):
    """A second run of the same name gets a folder of its own."""
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/precious.txt").write_text("keep")
    command("fit", *TINY, "--trainer.max_steps=1", "--run.name=mine")
    assert [path.name for path in (tmp_path / "runs/mine").iterdir()] == ["precious.txt"]
    assert (tmp_path / "runs/mine-2/summary.json").exists()


def test_a_full_disk_is_said_before_training(command, tmp_path, monkeypatch):
    """The run needs room for its checkpoints; without it no folder is left."""
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda folder: collections.namedtuple("Usage", "free")(1000))
    assert "run.dir: runs has 0 MiB free, but the checkpoints need" in mistake(command)
    assert not list(tmp_path.glob("runs/*"))


def test_no_space_for_the_folder_itself_is_said(command, tmp_path, monkeypatch):
    """ENOSPC while config.yaml is written."""

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "runs/x/config.yaml")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    assert "run.dir: no space left on the disk of runs/x" in mistake(command, "--run.name=x")
    assert not list(tmp_path.glob("runs/*"))


def test_wandb_online_without_an_account_is_said(command, tmp_path, monkeypatch):
    """No prompt, no waiting: three ways out."""
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr("wandb.login", lambda **kwargs: False)
    monkeypatch.setattr("lit_diffusion.runs.wandb_account.unreachable", lambda: None)  # as with a network
    with pytest.raises(ConfigError, match=r"cifar10.yaml: trainer.logger: W&B is online but .* `wandb login`"):
        command("fit", "-c", f"{CONFIGS}/cifar10.yaml", f"--data.root={tmp_path}")
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("option", [["--help"], ["-h"], ["--data.help", "CIFAR10"]], ids="".join)
def test_help_needs_no_file(option, tmp_path):
    result = run(["fit", *option], tmp_path)
    expected = "trainer.max_steps: " if len(option) == 1 else "data.batch_size: "
    assert (result.returncode, result.stderr) == (0, "") and expected in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no command given"),
        (["fot"], "unknown command fot; use fit"),
        (["-c", "x.yaml", "fit"], "expected a command before -c; use `lightning fit -c x.yaml ...`"),
        (["fit"], "model and data are missing; pass a complete file, such as -c configs/digits.yaml"),
    ],
    ids=["nothing", "unknown", "order", "bare"],
)
def test_the_process_says_one_line_and_ends_with_status_2(tmp_path, arguments, said):
    """No traceback, standard output empty."""
    result = run(arguments, tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
