"""Every setting, changed on resume, takes effect or is refused by name: none is recorded and not done.

The settings are those of the parsed configuration. A setting has taken effect if everything that it changes in the
objects of a new run is changed in those of the resumed run; a rate is that of a run with these settings at that step.
"""

import enum
import importlib
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace
from torch import nn

from lit_diffusion.callbacks import RunSummary, speed
from lit_diffusion.config.keys import is_within, normalize_key
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.errors import ConfigError
from lit_diffusion.training.command import TrainingCLI

pytestmark = pytest.mark.slow

STEP = 6
RUN = [
    f"--trainer.max_steps={STEP}",
    "--trainer.val_check_interval=3",
    "--trainer.callbacks+=EarlyStopping",
    "--trainer.callbacks.monitor=val/loss",
    "--model.lr_schedule.steps=20",
    "--model.optimizer.fused=false",
    "--model.reverse.network.multipliers=[1,1]",
    "--model.reverse.network.attention_levels=[0]",
    "--model.reverse.network.num_blocks=1",
]
OTHER_VALUES = {  # where `other_value` knows none
    "trainer.precision": "bf16-mixed",
    "trainer.logger": [Namespace(class_path="lightning.pytorch.loggers.CSVLogger", init_args=Namespace(save_dir="."))],
    "trainer.max_epochs": 50,
    "trainer.min_epochs": 1,
    "trainer.min_steps": 2,
    "trainer.max_time": "01:00:00:00",
    "trainer.limit_train_batches": 5,
    "trainer.limit_val_batches": 2,
    "trainer.limit_test_batches": 2,
    "trainer.limit_predict_batches": 2,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.num_sanity_val_steps": 1,
    "trainer.gradient_clip_algorithm": "value",
    "trainer.deterministic": True,
    "trainer.benchmark": True,
    "trainer.profiler": "simple",
    "trainer.plugins": [Namespace(class_path="lightning.pytorch.plugins.TorchSyncBatchNorm")],
    "trainer.default_root_dir": "elsewhere",
    "trainer.model_registry": "name/model",
    "trainer.callbacks.0.monitor": "train/loss",
    "trainer.callbacks.0.mode": "max",
    "trainer.callbacks.0.stopping_threshold": 0.1,
    "trainer.callbacks.0.divergence_threshold": 100.0,
    "trainer.callbacks.0.check_on_train_epoch_end": True,
    "model.reverse.network.width": 12,
    "model.reverse.network.head_channels": 4,
    "model.reverse.network.groups": 2,
    "model.reverse.network.num_classes": 10,
    "model.reverse.variance.last": "posterior_2",
    "model.objective.timesteps": Namespace(class_path="lit_diffusion.diffusion.LowDiscrepancy"),
    "model.sampler.steps": 3,
    **{f"{key}.spacing": "quadratic" for key in ("model.sampler", "grids.sampler", "scores.track_sampler")},
    "model.optimizer.foreach": True,
    "data.eval_batch_size": 16,
    "data.seed": 3,
    "scores.weights": "raw",
    "bits_per_dim.splits": ["train"],
    "speed.compile": "default",
    "speed.memory_format": "channels_last",
    "speed.matmul_precision": "high",
    "prediction.classes": [1],
    "prediction.sampler": Namespace(class_path="lit_diffusion.diffusion.AncestralSampler"),
}
# Which run is resumed, and where; the machines are those of test_devices.py.
NOT_OF_A_RUN = ("ckpt_path", "run", "weights_only", "config")
MACHINES = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
PASSING = "trainer._callback_connector._pending_litmodels_tip"  # of Lightning, reset when it has been printed
PLAIN = (bool, int, float, str, bytes, type(None), enum.Enum, torch.dtype, torch.device)
WALKED = ("lit_diffusion", "lightning", "torch.optim", "torch.nn", "tests")


def settings_of(config: Namespace) -> Iterator[tuple[str, object]]:
    """Every setting, those of callbacks in a list included, with its key in the Namespace."""
    for key, value in config.items():
        if isinstance(value, list) and value and isinstance(value[0], Namespace):
            for index, element in enumerate(value):
                yield from ((f"{key}.{index}.{inner}", one) for inner, one in element.items())
        elif not is_within(normalize_key(key), [*NOT_OF_A_RUN, *MACHINES]):
            yield key, value


def other_value(key: str, value: object) -> object:
    """Another value of a setting; of a class, a subclass that is defined here."""
    name = normalize_key(key)
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    if key.endswith("class_path"):
        module, _, kind = str(value).rpartition(".")
        base = getattr(importlib.import_module(module), kind)
        globals()[f"Other{kind}"] = type(f"Other{kind}", (base,), {"__module__": __name__})
        return f"{__name__}.Other{kind}"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 or 0.5
    if isinstance(value, list | tuple) and value:
        return [one + 1 if isinstance(one, int) else one / 2 for one in value]
    raise AssertionError(f"{name} is {value!r}: write another value into OTHER_VALUES")


def put(config: Namespace, key: str, value: object) -> None:
    """Changes one setting, also within a list."""
    if ".callbacks." in key:
        outer, _, inner = key.partition(".callbacks.")
        index, _, inner = inner.partition(".")
        config[f"{outer}.callbacks"][int(index)][inner] = value
    else:
        config[key] = value


def leaves(roots: dict[str, object]) -> dict[str, object]:
    """What objects consist of, by paths of attributes: plain values, and tensors other than weights."""
    found: dict[str, object] = {}
    seen = {id(root) for root in roots.values()}  # reached from nowhere else, such as a trainer from its model
    left = [*roots.items()]
    while left:
        path, thing = left.pop()
        if isinstance(thing, PLAIN):
            found[path] = thing
        elif isinstance(thing, torch.Tensor):
            if not isinstance(thing, nn.Parameter):
                found[path] = (thing.shape, thing.double().sum().item())
        else:
            if isinstance(thing, dict):
                parts = [(name, one) for name, one in thing.items() if not isinstance(name, torch.Tensor)]
            elif isinstance(thing, list | tuple | set):
                kinds = Counter()  # callbacks are named by their classes: others may come before them
                parts = []
                for one in thing:
                    kind = "" if isinstance(one, PLAIN) else type(one).__name__
                    parts.append((f"{kind}{kinds[kind]}", one))
                    kinds[kind] += 1
            else:
                found[path] = f"{type(thing).__module__}.{type(thing).__qualname__}"
                is_walked = type(thing).__module__.startswith(WALKED) and not isinstance(thing, type)
                parts = [*getattr(thing, "__dict__", {}).items()] if is_walked else []
            for name, part in parts:
                if isinstance(part, (*PLAIN, tuple)) or id(part) not in seen:
                    seen.add(id(part))
                    left.append((f"{path}.{name}", part))
    return found


def refused(key: str, error: Exception) -> dict[str, str]:
    """The outcome of a change that has raised an error, which must be a user's, and name the setting."""
    name = normalize_key(key)
    if not isinstance(error, ConfigError | ValueError):
        raise error
    assert name.rpartition(".")[2] in f"{getattr(error, 'key', '')} {error}", f"{name}: the error is another: {error}"
    return {name: "refused"}


class Matrix:
    """Resumes a run again and again, each time with other settings changed."""

    def __init__(self, run: Path, start: Path):
        arguments = ["fit", "-c", str(run / "config.yaml"), f"--ckpt_path={start}"]
        self.cli = TrainingCLI(ConfigSources(arguments), only_check=True)
        self.config, self.recorded = self.cli.config.clone(), dict(self.cli.run_summary.settings)
        self.config.fit.trainer.default_root_dir = None  # set to the folder of the run
        self.original = self.build({})

    def build(self, changes: dict[str, object]) -> dict[str, object]:
        """What a new run consists of, with the rates of a schedule at STEP."""
        cli = self.cli
        cli.config, cli.run_summary = self.config.clone(), RunSummary()
        for key, value in changes.items():
            put(cli.config.fit, key, value)
        cli._set_seed()
        cli.before_instantiate_classes()
        cli.instantiate_classes()
        optimizer = cli.model.optimizer(cli.model.parameters())
        optimizer.param_groups[0]["initial_lr"] = optimizer.param_groups[0]["lr"]
        schedule = cli.model.lr_schedule(optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimizer takes no steps
            for _ in range(STEP):
                schedule.step()
        return self.parts(optimizer, schedule)

    def resume(self, changes: dict[str, object]) -> dict[str, object]:
        """What the resumed run consists of, with the changes that were built last."""
        cli = self.cli
        cli.run_summary.settings = {**self.recorded, **{normalize_key(key): str(changes[key]) for key in changes}}
        cli.check()
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.settings.ckpt_path, weights_only=True)
        return self.parts(cli.trainer.optimizers[0], cli.trainer.lr_scheduler_configs[0].scheduler)

    def parts(self, optimizer: torch.optim.Optimizer, schedule: object) -> dict[str, object]:
        """What the objects consist of, and what else settings act on."""
        groups = [{name: one for name, one in group.items() if name != "params"} for group in optimizer.param_groups]
        rates = {name: one for name, one in vars(schedule).items() if name != "optimizer"}
        kinds = [type(optimizer).__name__, type(schedule).__name__]
        flags = [torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark]
        objects = {"model": self.cli.model, "data": self.cli.datamodule, "trainer": self.cli.trainer}
        return leaves({**objects, "all": [groups, rates, kinds, flags, self.cli.model.seed]})

    def try_out(self, changes: dict[str, object]) -> dict[str, str]:
        """The outcome of each of the changes to one part of a run, by name."""
        effects, outcomes = {}, {}
        for key, value in changes.items():
            try:
                effects[key] = self.effects({key: value})
            except (ConfigError, ValueError) as error:
                outcomes |= refused(key, error)
        return outcomes | self.try_together({key: changes[key] for key in effects}, effects)

    def try_together(self, changes: dict[str, object], effects: dict[str, set[str]]) -> dict[str, str]:
        """The same of changes with known effects: at once, or without what is refused, or in halves."""
        try:
            new, resumed = self.build(changes), self.resume(changes)
        except Exception as error:  # some do not go together
            if len(changes) == 1:
                return refused(*changes, error)
            culprits = [key for key in changes if normalize_key(key) == getattr(error, "key", None)]
            if culprits:
                rest = {key: changes[key] for key in changes if key not in culprits}
                return refused(culprits[0], error) | self.try_together(rest, effects)
            keys, half = [*changes], len(changes) // 2
            halves = [{key: changes[key] for key in part} for part in (keys[:half], keys[half:])]
            return self.try_together(halves[0], effects) | self.try_together(halves[1], effects)
        paths = set().union(*(effects[key] for key in changes))
        lost = {path: (new.get(path), resumed.get(path)) for path in paths if new.get(path) != resumed.get(path)}
        assert not lost, f"{[*changes]}: recorded, but not done: {lost}"
        return {normalize_key(key): "honoured" for key in changes}

    def effects(self, change: dict[str, object]) -> set[str]:
        """What a change makes different in a new run."""
        new = self.build(change)
        found = {path for path in {*self.original, *new} if self.original.get(path) != new.get(path)} - {PASSING}
        added = {path for path in found if path not in self.original}  # what they hold may change as they work
        found -= {path for path in added if path.rpartition(".")[0] in added}
        assert found, f"{[*change]} has no effect, even in a new run"
        return found


def test_every_setting_changed_on_resume_is_honoured_or_refused(command, toy_run, tmp_path, monkeypatch):
    """Walks the settings by itself: a new one that is neither fails here."""
    monkeypatch.setattr(speed, "compiler_problem", lambda device, mode: "")  # whether it works here is another question
    run = toy_run(*RUN)
    matrix = Matrix(run, shutil.copy(run / "checkpoints/last.ckpt", tmp_path / "start.ckpt"))
    parts: dict[str, dict[str, object]] = {}
    for key, value in settings_of(matrix.config.fit):
        name = normalize_key(key)
        part = name if key.endswith("class_path") else name.rpartition(".")[0]
        if not part.startswith(("model", "trainer", "speed")):
            part = "others"  # of no consequence to one another
        parts.setdefault(part, {})[key] = other_value(key, value)
    outcomes = {}
    for changes in parts.values():
        outcomes |= matrix.try_out(changes)
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    assert outcomes.keys() == {normalize_key(key) for changes in parts.values() for key in changes}
