"""What all tests share: one thread, no network, no account, and the command line inside this process."""

import fcntl
import gc
import hashlib
import os
import pickle
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import URLError

os.environ.update(WANDB_MODE="offline", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import pytest
import torch
from torchvision import datasets

from lit_diffusion.memory import keep_freed_memory

torch.set_num_threads(1)
keep_freed_memory()

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
DIGITS = f"{CONFIGS}/digits.yaml"
# digits.yaml, shrunk: a network of a few thousand parameters, seven steps of noise, no pictures, no scores, no W&B
TINY = [
    *("-c", DIGITS),
    "--model.reverse.network.width=8",
    "--model.reverse.network.multipliers=[1]",
    "--model.reverse.network.groups=4",
    "--model.reverse.process.schedule.num_steps=7",
    "--model.lr_schedule.steps=2",
    "--data.batch_size=32",
    "--grids.every_n_steps=0",
    "--scores.num_samples=0",
    "--bits_per_dim.splits=[]",
    "--trainer.logger=false",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
    "--trainer.accelerator=cpu",
]
# digits_hierarchical_vae.yaml and digits_gan.yaml, shrunk in the same way
_OTHERS = [
    "--data.batch_size=32",
    "--grids.every_n_steps=0",
    "--scores.num_samples=0",
    "--scores.every_n_steps=0",
    "--bits_per_dim.splits=[]",
    *[option for option in TINY if option.startswith("--trainer")],
]
TINY_VAE = [
    *("-c", f"{CONFIGS}/digits_hierarchical_vae.yaml"),
    *[f"--model.vae.{part}.width=8" for part in ("encoder", "decoder", "between")],
    "--model.vae.latent_shapes=[[3],[2]]",
    "--model.lr_schedule.steps=2",
    *_OTHERS,
]
TINY_GAN = [
    *("-c", f"{CONFIGS}/digits_gan.yaml"),
    "--model.latent_size=4",
    "--model.generator.width=8",
    "--model.discriminator.width=4",
    *_OTHERS,
]
TINY_AUTOENCODER = [  # digits_autoencoder.yaml
    *("-c", f"{CONFIGS}/digits_autoencoder.yaml"),
    *[f"--model.vae.{part}.width=8" for part in ("encoder", "decoder")],
    "--model.lr_schedule.steps=2",
    *_OTHERS,
]
TINY_LATENT = ["-c", f"{CONFIGS}/digits_latent.yaml", *TINY[2:]]  # in the latents of runs/digits_autoencoder

MOST_WORKERS = 8  # each takes about 1 GB and 15 s to start: more would not end sooner


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Shares the suite among processes, one a core, unless `-n` says otherwise; single files run in this process."""
    if hasattr(config, "workerinput") or not config.pluginmanager.hasplugin("xdist"):
        return
    options = config.option
    whole = not any(Path(argument.split("::")[0]).is_file() for argument in config.args)
    if whole and options.numprocesses is None and not options.usepdb:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        options.numprocesses = min(cores, MOST_WORKERS)
        if options.dist == "no":
            options.dist = "worksteal"  # neighbours stay together, and with them the fixtures of their module


def pytest_collection_modifyitems(items):
    """Modules with tests of many seconds come first: one that began last would leave the other cores idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """What has been imported stays: looking for garbage among it, over and over, would take a quarter of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path_factory):
    """No test inherits another's seed, run folder or W&B service, or finds what an earlier one has cached."""
    monkeypatch.setenv("LIT_DIFFUSION_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("LIT_DIFFUSION_ALLOW", "tests")
    for name in ("PL_GLOBAL_SEED", "LIT_DIFFUSION_RUN_FOLDER", "WANDB_SERVICE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a sub-command as the command line does, in an empty folder: command("fit", "-c", ...)."""
    from lit_diffusion.training import command as training_cli

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> None:
        training_cli.main([*arguments])

    return run


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make(folder)` fills once for all workers of a pytest session. Tests read it, or copy it."""
    root = factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "shared"
    root.mkdir(exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / name).exists():
            unfinished = root / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(root / name)
    return root / name


@pytest.fixture
def toy_run(command, tmp_path, tmp_path_factory):
    """toy_run(*OPTIONS) is a copy, in runs/here, of what `fit TINY OPTIONS --run.name=here` leaves, trained once.

    base: what to train in place of TINY.
    """

    def train(folder: Path, options: tuple[str, ...]) -> None:
        os.chdir(folder)
        try:
            command("fit", *options, "--run.name=here")
        finally:
            os.chdir(tmp_path)

    def run(*options: str, name: str = "here", base: Sequence[str] = TINY) -> Path:
        key = hashlib.sha256("\n".join([*base, *options]).encode()).hexdigest()[:16]
        kept = once(tmp_path_factory, f"run-{key}", lambda folder: train(folder, (*base, *options)))
        return shutil.copytree(kept / "runs/here", tmp_path / "runs" / name)

    return run


@pytest.fixture
def parse(command, monkeypatch):
    """Parses and instantiates as `fit` does, and returns the command line instead of training."""
    from lit_diffusion.training.command import TrainingCLI

    seen = []
    monkeypatch.setattr(TrainingCLI, "_run_subcommand", lambda self, name: seen.append(self))

    def run(*arguments: str) -> TrainingCLI:
        command("fit", *arguments)
        return seen[-1]

    return run


@pytest.fixture
def no_downloads(monkeypatch):
    """torchvision has no network; each connection has a time limit."""

    def refuse(*args, **kwargs):
        assert socket.getdefaulttimeout() is not None, "a silent firewall would hold the run up for minutes"
        raise URLError("Network is unreachable")

    monkeypatch.setattr(datasets.utils, "_get_redirect_url", refuse)
    monkeypatch.setattr(datasets.utils, "_urlretrieve", refuse)


CIFAR10_TRAIN = [f"data_batch_{i}" for i in range(1, 6)]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar10(root: Path, images: int, monkeypatch) -> tuple[dict, dict]:
    """CIFAR10 as torchvision finds it on disk, `images` random ones a file: (pixels, labels) of each file.

    The checksums that torchvision knows are replaced by those of the files written, and still compared.
    """
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    pixels, labels = {}, {}
    for name in [*CIFAR10_TRAIN, "test_batch"]:
        pixels[name] = random.integers(0, 256, (images, 3072), dtype=np.uint8)
        labels[name] = random.integers(0, 10, images).tolist()
        (folder / name).write_bytes(pickle.dumps({"data": pixels[name], "labels": labels[name]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, md5(folder / name)] for name in CIFAR10_TRAIN])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", md5(folder / "test_batch")]])
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", md5(folder / "batches.meta"))
    return pixels, labels


@pytest.fixture
def cifar10_files(tmp_path, monkeypatch) -> Path:
    """A folder with 300 CIFAR10-like images in torchvision's format."""
    root = tmp_path / "cifar"
    root.mkdir()
    write_cifar10(root, 50, monkeypatch)
    return root
