"""A resumed run: states come from the checkpoint, settings from the configuration; what cannot is refused by name."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.optim import Adam, lr_scheduler

from lit_diffusion.callbacks import RunSummary
from lit_diffusion.data import ImageHub
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules.diffusion import LinearWarmup
from lit_diffusion.training.command import TrainingCLI
from lit_diffusion.training.resuming import optimizers_kept, scaler_kept
from tests.conftest import TINY
from tests.training.test_going_on import rows
from tests.training.test_training import assert_same_training

SCHEDULES = {  # of the run, and of the run that is resumed from it
    "warm-up": (lambda o: LinearWarmup(o, 30), lambda o: LinearWarmup(o, 10)),
    "base rate": (lambda o: LinearWarmup(o, 30), lambda o: LinearWarmup(o, 30)),
    "steps": (lambda o: lr_scheduler.StepLR(o, 3, 0.5), lambda o: lr_scheduler.StepLR(o, 4, 0.7)),
    "milestones": (lambda o: lr_scheduler.MultiStepLR(o, [2, 9]), lambda o: lr_scheduler.MultiStepLR(o, [5, 11], 0.3)),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.8)),
    "cosine": (lambda o: lr_scheduler.CosineAnnealingLR(o, 30), lambda o: lr_scheduler.CosineAnnealingLR(o, 50, 1e-4)),
    "restarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, 2),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 3),
    ),
    "one cycle": (
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=30),
        lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=40, base_momentum=0.5),
    ),
    "cyclic": (
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 4, cycle_momentum=False),
        lambda o: lr_scheduler.CyclicLR(o, 0.02, 0.2, 3, cycle_momentum=False),
    ),
    "cyclic anew": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 30),
        lambda o: lr_scheduler.CyclicLR(o, 0.02, 0.2, 3),
    ),
    "warm-up anew": (lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 4), lambda o: LinearWarmup(o, 30)),
    "another class": (lambda o: lr_scheduler.CosineAnnealingLR(o, 30), lambda o: lr_scheduler.PolynomialLR(o, 40, 2.0)),
}


def training(schedule, lr=1e-3, betas=(0.9, 0.999), **options):
    """An optimizer of one weight and its schedule."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = Adam([weight], lr=lr, betas=betas, **options)
    optimizer.param_groups[0]["initial_lr"] = lr
    return weight, optimizer, schedule(optimizer)


def train(weight, optimizer, schedule, steps) -> list[tuple]:
    """The settings with which each of so many steps was taken."""
    seen = []
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        group = optimizer.param_groups[0]
        seen.append((group["lr"], tuple(group["betas"]), group["eps"], group["weight_decay"]))
        schedule.step()
    return seen


def resume(before, after, step, changed=True):
    """`after`, restored from the state of `before` as a trainer does it."""
    (_, of_before, schedule_before), (_, of_after, schedule_after) = before, after
    summary = RunSummary()
    summary.loaded, summary.settings = {"model.optimizer.lr": 1}, {"model.optimizer.lr": 2 if changed else 1}
    strategy = SimpleNamespace(lr_scheduler_configs=[SimpleNamespace(scheduler=schedule_after)])
    trainer = SimpleNamespace(callbacks=[summary], optimizers=[of_after], strategy=strategy, global_step=step)
    with optimizers_kept(trainer):
        of_after.load_state_dict(of_before.state_dict())
        for config in strategy.lr_scheduler_configs:
            config.scheduler.load_state_dict(schedule_before.state_dict())
    assert [config.scheduler for config in strategy.lr_scheduler_configs] == [schedule_after]


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_and_settings_are_those_of_a_run_that_had_them_from_the_start(name):
    """Seven steps with the old ones, then ten: whether the schedule is a formula of the step or a recursion."""
    old, new = SCHEDULES[name]
    options = {"lr": 3e-4, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}
    before, after, unbroken = training(old), training(new, **options), training(new, **options)
    train(*before, 7)
    resume(before, after, 7)
    assert train(*after, 10) == train(*unbroken, 17)[7:]
    state = after[1].state_dict()["state"][0]
    assert state["step"] == 17 and state["exp_avg"] > 0.5  # goes on from the state


def test_what_has_not_changed_is_restored_as_it_is():
    """Whatever a schedule depends on: here a rate that something else has set."""
    before, after = training(SCHEDULES["steps"][0]), training(SCHEDULES["steps"][0])
    train(*before, 7)
    before[1].param_groups[0]["lr"] = 0.123
    resume(before, after, 7, changed=False)
    assert after[1].param_groups[0]["lr"] == 0.123


def test_a_rate_reduced_on_plateaus_stays_reduced_by_as_much():
    """Losses cannot be had again: the reductions so far are kept, whatever the new rate and factor."""
    before = training(lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0))
    after = training(lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=3), lr=4e-3)
    for loss in (1.0, 1.1, 1.2):
        before[2].step(loss)
    resume(before, after, 7)
    assert after[1].param_groups[0]["lr"] == 4e-3 / 4 == after[2].get_last_lr()[0]
    assert (after[2].factor, after[2].patience, after[2].best, after[2].last_epoch) == (0.1, 3, 1.0, 3)


def test_the_scaler_of_gradients_keeps_its_settings_and_takes_over_its_scale():
    """GradScaler, of 16-bit training, stores both."""
    old, new = torch.amp.GradScaler("cpu", 256.0, 3.0, 0.25, 7), torch.amp.GradScaler("cpu", 1024.0, 2.0, 0.5, 100)
    trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=new))
    with scaler_kept(trainer):
        new.load_state_dict(old.state_dict())
    settings = new.get_growth_factor(), new.get_backoff_factor(), new.get_growth_interval()
    assert settings == (2.0, 0.5, 100) and new.get_scale() == 256.0


STEPS = ["--trainer.max_steps=6", "--trainer.val_check_interval=2", "--checkpoint.every_n_steps=2"]


def last(run) -> dict:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def test_a_run_continues_at_the_rate_of_the_configuration(command, toy_run):
    """What is recorded is what was done: at a rate of 0 nothing changes any more but the average."""
    run = toy_run(*STEPS)
    before = last(run)["current_model_state"]
    command(
        "fit", "-c", str(run / "config.yaml"), "--ckpt_path=last", "--trainer.max_steps=9", "--model.optimizer.lr=0"
    )
    after = last(run)
    assert after["global_step"] == 9
    assert all(torch.equal(after["current_model_state"][name], before[name]) for name in before)
    assert after["optimizer_states"][0]["param_groups"][0]["lr"] == 0 == after["lr_schedulers"][0]["base_lrs"][0]
    assert json.loads((run / "summary.json").read_text())["settings"]["model.optimizer.lr"] == 0


def test_a_plateau_schedule_follows_the_validations_and_a_kill_changes_nothing(command, toy_run, tmp_path):
    """Every second step; no fall of the loss reaches the threshold, so each one after the first halves the rate."""
    plateau = [f"--model.lr_schedule.{key}" for key in ("factor=0.5", "patience=0", "threshold=0.9")]
    options = [*STEPS, "--model.lr_schedule=torch.optim.lr_scheduler.ReduceLROnPlateau", *plateau]
    options = ["--trainer.max_steps=10", *options[1:]]
    tiny = [option for option in TINY if "lr_schedule" not in option]
    command("fit", *tiny, *options, "--run.name=whole")
    whole = tmp_path / "runs/whole"
    assert last(whole)["lr_schedulers"][0]["last_epoch"] == 5
    assert last(whole)["optimizer_states"][0]["param_groups"][0]["lr"] == 1e-3 / 16
    step = whole / "checkpoints/step=8.ckpt"  # saved before the validation of that step
    command("fit", *tiny, *options, "--run.name=again", f"--ckpt_path={step}")
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("whole", "again")))
    with pytest.raises(ConfigError, match="model.lr_schedule: .* trainer.limit_val_batches is 0"):
        command("fit", *tiny, *options, "--trainer.limit_val_batches=0")


REFUSED = [  # the settings, and the message
    (["--trainer.max_steps=4"], "trainer.max_steps: expected 6 or more, the step of .*last.ckpt; got 4"),
    (["--model.optimizer.amsgrad=true"], "model.optimizer.amsgrad: Adam with these settings cannot continue"),
    (["--model.optimizer=SGD"], "state of another optimizer than SGD; use its settings: model.optimizer Adam$"),
    (["--model.reverse.network.width=4"], "use its settings: model.reverse.network.width 8$"),
    (["--model.lr_schedule=torch.optim.lr_scheduler.OneCycleLR", "--model.lr_schedule.max_lr=1",
      "--model.lr_schedule.total_steps=3"], "model.lr_schedule: cannot be resumed at step 6 .*Tried to step 4 times"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_cannot_be_continued_with_is_refused_by_name(command, toy_run, options, message):
    """Before anything is written: the run stays what it was."""
    run = toy_run(*STEPS)
    before = (run / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=message):
        command("fit", "-c", str(run / "config.yaml"), "--ckpt_path=last", *options)
    assert (run / "config.yaml").read_text() == before


def test_the_start_of_a_learned_schedule_is_refused(command, toy_run):
    """It has been left: recorded, another start would be a lie. An end of training by epochs is checked as well."""
    learned = [
        '--model.reverse.process.schedule={"class_path": "LearnedSchedule", "init_args": {"start": {"class_path": '
        '"LinearSchedule", "init_args": {"num_steps": 7}}}}',
        "--model.objective=VariationalBound",
    ]
    epochs = ["--trainer.max_steps=-1", "--trainer.max_epochs=2", "--trainer.limit_train_batches=3"]
    tiny = [option for option in TINY if "num_steps" not in option]
    command("fit", *tiny, *learned, *epochs, "--run.name=here")
    again = ["-c", "runs/here/config.yaml", "--ckpt_path=last"]
    key = "model.reverse.process.schedule.start.beta_end"
    with pytest.raises(ConfigError, match=f"{key}: expected 0.02, from which LearnedSchedule has been trained"):
        command("fit", *again, f"--{key}=0.03")
    with pytest.raises(ConfigError, match="trainer.max_epochs: expected 2 or more, as .* is in epoch 2; got 1"):
        command("fit", *again, "--trainer.max_epochs=1")


def test_the_best_step_is_forgotten_if_it_was_measured_by_something_else(command, toy_run, capsys):
    """A loss of another objective, or an FID, does not compare; another rate or batch changes no measure."""
    run = toy_run(*STEPS)
    best = next(state["best"] for name, state in last(run)["callbacks"].items() if name == "Checkpoints")
    again = ["-c", str(run / "config.yaml"), "--ckpt_path=last"]
    command("fit", *again, "--trainer.max_steps=7", "--data.batch_size=16", "--model.optimizer.lr=1e-4")
    assert "best.ckpt is chosen anew" not in capsys.readouterr().err
    assert last(run)["callbacks"]["Checkpoints"]["best"] <= best
    other = ["--model.objective.weighting=MinSNR", "--trainer.max_steps=8"]
    command("fit", *again, *other)
    assert "best.ckpt is chosen anew from here on, since model.objective.weighting" in capsys.readouterr().err
    losses = [float(row["val/loss"]) for row in rows(run) if row["val/loss"]]
    assert last(run)["callbacks"]["Checkpoints"]["best"] == pytest.approx(losses[-1])


def test_relative_paths_of_a_run_count_from_where_it_was_started(command, tmp_path, monkeypatch, capsys):
    """From every folder, and from a copy of that one; those of the command line count from the current one, and are
    recorded so that they stay. If a path could mean two things, the run says which it is.
    """
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 8, 8), dtype=np.uint8)
    for folder, pictures in zip(("project/images", "other/images", "other/more"), images):
        (tmp_path / folder).mkdir(parents=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / folder / f"{index}.png")
    monkeypatch.chdir(tmp_path / "project")
    folder = ["--data=ImageFolder", "--data.root=images", "--data.size=8", "--data.channels=1", "--data.num_test=4"]
    options = [*folder, "--model.reverse.decoder.num_levels=256", "--data.batch_size=4", "--trainer.max_steps=1"]
    config = tmp_path / "project/runs/here/config.yaml"
    command("fit", *TINY, *options, "--run.name=here")
    monkeypatch.chdir(tmp_path / "other")
    command("fit", "-c", str(config), "--ckpt_path=last", "--trainer.max_steps=2")
    assert yaml.safe_load(config.read_text())["data"]["init_args"]["root"] == "images"
    assert json.loads(config.with_name("summary.json").read_text())["working_folder"] == str(tmp_path / "project")
    seen: list[TrainingCLI] = []
    monkeypatch.setattr(TrainingCLI, "_run_subcommand", lambda cli, name: seen.append(cli))
    for options, root in (([], "project/images"), (["--data.root=more"], "other/more")):
        command("validate", "-c", str(config), "--ckpt_path=last", *options)
        assert seen[-1].datamodule.root == str(tmp_path / root)
    assert seen[-1].saved["data.init_args.root"] == str(tmp_path / "other/more")
    monkeypatch.setattr(ImageHub, "prepare_data", lambda data: None)
    text = config.read_text()
    config.write_text(text.replace("data.ImageFolder", "data.ImageHub"))
    command("validate", "-c", str(config), "--ckpt_path=last")
    assert seen[-1].datamodule.root == "images"  # a name on the hub is not a path
    config.write_text(text)
    shutil.copytree(tmp_path / "project", tmp_path / "copy")
    capsys.readouterr()
    for images in ("copy/images", "project/images"):  # of the copied project; gone from it, of the project
        command("validate", "-c", str(tmp_path / "copy/runs/here/config.yaml"), "--ckpt_path=last")
        assert seen[-1].datamodule.root == str(tmp_path / images)
        assert seen[-1].run_summary.working_folder == (tmp_path / images).parent
        others = {"copy/images": "project/images", "project/images": "other/images"}
        ours, theirs = tmp_path / images, tmp_path / others[images]
        said = f"data.root: {ours} is used, and not {theirs}; use --data.root={theirs} for that one\n"
        assert capsys.readouterr().err == said
        shutil.rmtree(ours)
