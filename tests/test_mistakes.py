"""A table of mistakes that users make: the place, the cause, and the suggestion of each answer."""

import pytest

from lit_diffusion.cli.entry import dispatch
from lit_diffusion.config.config_files import find
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.errors import ConfigError
from lit_diffusion.training.run_options import GROUPS
from tests.conftest import TINY

LINE = "command line: "
FILES = {
    "tabs.yaml": "trainer:\n\tmax_steps: 3\n",
    "equals.yaml": "trainer.max_steps = 3\n",
    "equals_below.yaml": "trainer: {max_steps: 3}\nmodel.lr = 3\n",
    "equals_inside.yaml": "trainer:\n  max_steps = 3\n",
    "compose.yaml": "services: {web: {image: x}}\nvolumes: {}\n",
    "typo.yaml": "omdel: {sampler: DDIMSampler}\n",
    "typo_in_network.yaml": "model: {init_args: {reverse: {init_args: {network: {init_args: {widht: 3}}}}}}\n",
    "typo_inside.yaml": "model: {init_args: {smapler: DDIMSampler}}\n",
    "modes.yaml": "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitor: val/loss, mode: mni}}]}\n",
    "lightning.yaml": "trainer: {gpus: 1}\n",
    "compvis.yaml": "model:\n  target: ldm.models.LatentDiffusion\n  params: {timesteps: 1000}\n",
    "callbacks.yaml": "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {patience: 3}}]}\n",
}
# options after those of TINY, and the answer
AFTER_A_BASE = {
    # options that do not exist
    "--seed=7": LINE + "seed: no such option; use --seed_everything",
    "--trainer.max_step=3": LINE + "trainer.max_step: no such option; use --trainer.max_steps",
    "--trainer.max-steps=3": LINE + "trainer.max-steps: no such option; use --trainer.max_steps",
    "--max_steps=3": LINE + "max_steps: no such option; use --trainer.max_steps",
    "--ckpt-path=last": LINE + "ckpt-path: no such option; use --ckpt_path",
    "--batch_size=3": LINE + "batch_size: no such option; use --data.batch_size or ",
    "--learning_rate=3": LINE + "learning_rate: no such option; use --model.optimizer.lr",
    "--trainer.gpus=1": LINE + "trainer.gpus: no such option; use --trainer.devices",
    "--checkpoint.every_n_step=3": LINE + "checkpoint.every_n_step: no such option; use --checkpoint.every_n_steps",
    "--predicton.num_samples=3": LINE + "predicton.num_samples: no such option; use --prediction.num_samples",
    "--ema.ema=3": LINE + "ema.ema: no such option; use --ema.decay",
    "--run=x": LINE + "run: no such option; use --run.dir or --run.name",
    "trainer.max_steps=3": LINE + "expected an option, got trainer.max_steps=3; use --trainer.max_steps=3",
    "--model.batch_size=3": LINE + "model.batch_size: no such setting; use data.batch_size or ",
    "--model.optimizer.learning_rate=3": LINE + "model.optimizer.learning_rate: no such setting; use lr (or betas,",
    "--model.reverse.network=RadialBasisNetwork --model.reverse.network.num_classes=3": LINE
    + "model.reverse.network.num_classes: no such setting; use one of num_steps, num_units",
    "--prediction.sampler.steps=5": LINE
    + "prediction.sampler: expected a class besides its settings, got none; use --prediction.sampler=AncestralSampler",
    "-c typo_in_network.yaml": "typo_in_network.yaml: model.reverse.network.widht: no such setting; use width",
    "--trainer.logger=WandbLogger --trainer.logger.offlin=true": LINE
    + "trainer.logger.offlin: no such setting; use offline",
    # values
    "--trainer.max_steps = 3": LINE + "expected --KEY=VALUE, got spaces around =; omit them",
    "--trainer.max_steps=": LINE + "trainer.max_steps: expected a whole number, got nothing",
    "--trainer.max_steps": LINE + "trainer.max_steps: expected a value, got none; use --trainer.max_steps=VALUE",
    "--ema=false": LINE + "ema: expected settings below it, got false; use --ema.decay",
    "--seed_everything=-1": LINE + "seed_everything: expected 0 to 4294967295, got -1",
    "--trainer.precision=16-mixed": LINE
    + "trainer.precision: expected 32-true or bf16-mixed on a CPU, got 16-mixed; use bf16-mixed",
    "--trainer.precision=fp16": LINE + "trainer.precision: expected one of 32-true, 16-mixed, bf16-mixed; got fp16",
    "--data=Cifar10": LINE + "data: no class Cifar10; use CIFAR10",
    "--model.sampler=DDIM": LINE + "model.sampler: no class DDIM; use DDIMSampler (or AncestralSampler, ",
    "--model.reverse.process.schedule=cosine": LINE + "model.reverse.process.schedule: no class cosine; use Cosine",
    "--model.optimizer=adam": LINE + "model.optimizer: no class adam; use Adam ",
    "--trainer.logger=wandb": LINE + "trainer.logger: no class wandb; use WandbLogger ",
    "--trainer.logger=CSVLogger": LINE + "trainer.logger.save_dir: expected a value, which CSVLogger needs, got none"
    "; use --trainer.logger.save_dir=VALUE",
    "--trainer.callbacks=EarlyStopping": LINE
    + "trainer.callbacks.monitor: expected a value, which EarlyStopping needs",
    "--trainer.callbacks+=EarlyStoping": LINE + "trainer.callbacks: no class EarlyStoping; use EarlyStopping",
    "--data.batch_size=${nowhere}": LINE + "Interpolation key ",
    "--omdel.sampler=DDIMSampler": LINE + "omdel.sampler: no such option; use --model.sampler or ",
    "--trainer.callbacks=LearningRateMonitor --trainer.callbacks.logging_intervall=step": LINE
    + "trainer.callbacks.logging_intervall: no such setting; use logging_interval ",
    "--trainer.callbacks=GradientAccumulationScheduler --trainer.callbacks.scheduling={0:2}": LINE
    + "trainer.callbacks.scheduling: expected a mapping such as {0: 2}, got {0:2}",
    "--trainer.callbacks=lightning.Trainer": LINE + "trainer.callbacks: lightning.Trainer is not on the allow-list",
    "--trainer.logger=WandbLogger --trainer.logger.offline=maybe": LINE
    + "trainer.logger.offline: expected true or false, got maybe",
    "--model.lr_schedule=ReduceLROnPlateau": LINE
    + "model.lr_schedule: expected an import path, as several classes are "
    "named ReduceLROnPlateau; use torch.optim.lr_scheduler.ReduceLROnPlateau",
    "--model.lr_schedule=CosineAnnealing": LINE + "model.lr_schedule: no class CosineAnnealing; use CosineAnnealingLR",
    "--model.lr_schedule=Warmup": LINE + "model.lr_schedule: no class Warmup; use LinearWarmup",
    "--model.optimizer.lr=-3": LINE + "model.optimizer.lr: Invalid learning rate: -3.0",
    "--model.optimizer=SGD --model.optimizer.momentum=-3": LINE + "model.optimizer.momentum: Invalid momentum value",
    # what Lightning refuses, or does silently
    "--trainer.callbacks=LearningRateFinder": LINE
    + "trainer.callbacks: expected no LearningRateFinder, whose work a run "
    "does by settings of its own; use --model.optimizer.lr",
    "--trainer.callbacks=EMA": LINE + "trainer.callbacks: expected no EMA, which every run has; use --ema.decay",
    "--trainer.callbacks=BackboneFinetuning": LINE
    + "trainer.callbacks: BackboneFinetuning failed: AttributeError: 'DiffusionModule' object has no attribute 'backb",
    "--trainer.callbacks=EarlyStopping --trainer.callbacks.monitor=val/loss --trainer.callbacks.mode=mni": LINE
    + "trainer.callbacks.mode: could not be built from these settings: `mode` can be min, max, got mni",
    "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val/loss --trainer.callbacks+=EarlyStopping "
    "--trainer.callbacks.monitor=val/loss": LINE
    + "trainer.callbacks: expected callbacks that differ, got EarlyStopping twice; omit one",
    "--trainer.accelerator=foo": LINE + "trainer.accelerator: expected an accelerator of this machine, one of cpu, ",
    "--trainer.strategy=fsdp": LINE
    + "trainer.strategy: expected a strategy that keeps the weights whole, one of auto, ddp, xla; got fsdp; use",
    "--trainer.val_check_interval=0.5": LINE + "trainer.val_check_interval: expected a number of batches, as "
    "trainer.check_val_every_n_epoch is null; got 0.5; add --trainer.check_val_every_n_epoch=1",
    "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val_loss": LINE
    + "trainer.callbacks: EarlyStopping.monitor: expected a metric that is logged, got val_loss; use val/loss ",
    "--trainer.strategy=ddp_spawn": LINE + "trainer.strategy: expected a strategy that starts its processes from",
    "--trainer.strategy=dp": LINE
    + "trainer.strategy: expected a strategy that keeps the weights whole, one of auto, ddp, xla; got dp; use ddp",
    "--trainer.check_val_every_n_epoch=1 --trainer.val_check_interval=1000": LINE
    + "trainer.val_check_interval: `val_check_interval` (1000) must be less than or equal to",
    "--trainer.accumulate_grad_batches=-2": LINE + "trainer.accumulate_grad_batches: expected 1 or more, got -2",
    "--trainer.gradient_clip_val=-1": LINE + "trainer.gradient_clip_val: expected a number above 0, or null",
    "--trainer.limit_train_batches=0": LINE + "trainer.limit_train_batches: expected a number above 0, or null",
    "--trainer.barebones=true": LINE + "trainer.barebones: `Trainer(barebones=True, logger=[MetricsLogger])` was",
    "--trainer.max_time=abc": LINE + "trainer.max_time: `Timer(duration='abc')` is not a valid duration",
    # files and checkpoints
    "--ckpt_path=latest": LINE + "ckpt_path: latest: no such checkpoint; use last",
    "--ckpt_path=folder": LINE
    + "ckpt_path: folder: expected a file, got a folder; use one of folder/checkpoints/a.ckpt",
    "-c lightning.yaml": "lightning.yaml: trainer.gpus: no such setting; use trainer.devices",
    "-c modes.yaml": "modes.yaml: trainer.callbacks.mode: could not be built from these settings: `mode` can be min",
    "-c equals_inside.yaml": "equals_inside.yaml: trainer: expected `key: value`, got `max_steps = 3`; write",
    "-c typo_inside.yaml": "typo_inside.yaml: model.smapler: no such setting; use sampler ",
    "-c callbacks.yaml": "callbacks.yaml: trainer.callbacks.monitor: expected a value, which EarlyStopping needs",
}
ALONE = {
    "-c configs/schedule/cosine.yaml": "configs/schedule/cosine.yaml: model: expected a complete file besides this "
    "overlay, got none; use -c configs/digits.yaml -c configs/schedule/cosine.yaml",
    "-c configs/iddpm/cifar10.yaml": "configs/iddpm/cifar10.yaml: model: expected a complete file besides this "
    "overlay, got none; use -c configs/cifar10.yaml -c configs/iddpm/cifar10.yaml",
    "-c configs/quick.yaml": "configs/quick.yaml: model: expected a complete file besides this overlay, got none; use "
    "-c configs/digits.yaml -c configs/quick.yaml",
    "-c configs/mnist.yaml -c configs/quick.yaml --data.download=false": "configs/mnist.yaml: data.root: no MNIST",
    "-c configs/digits.yaml,configs/quick.yaml": "configs/digits.yaml,configs/quick.yaml: expected one file, got "
    "several; use -c configs/digits.yaml -c configs/quick.yaml",
    "-c picture.png": "picture.png: expected a YAML file, which is text; got other bytes",
    "-c compose.yaml": "compose.yaml: services: no such setting; expected settings such as model, data, trainer, "
    "got services, volumes; start from a file such as configs/digits.yaml",
    "-c typo.yaml": "typo.yaml: omdel: no such setting; use model",
    "-c compvis.yaml": "compvis.yaml: model: expected class_path and init_args, got target, params, as of another",
    "-c tabs.yaml": "tabs.yaml, line 2, column 1: expected spaces at the start of the line, got a tab; indent",
    "-c equals.yaml": "equals.yaml: expected `key: value`, got `trainer.max_steps = 3`; write `trainer.max_steps: 3`",
    "-c equals_below.yaml": "equals_below.yaml, line 3, column 1: expected `key: value`, got `model.lr = 3`; write ",
    "-c configs/digit.yaml": "configs/digit.yaml: no such file; use configs/digits.yaml",
    "-c digits": "digits: no such file; use configs/digits.yaml",
    "-c configs/cosine.yaml": "configs/cosine.yaml: no such file; use configs/schedule/cosine.yaml",
    "-c folder": "folder: expected a file, got a folder; use folder/config.yaml",
    "-c configs": "configs: expected a file, got a folder; use configs/digits.yaml",
    "-c": LINE + "-c: expected a file, got none; use -c configs/digits.yaml",
    "configs/digits.yaml": LINE + "expected an option, got configs/digits.yaml; use -c configs/digits.yaml",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [*[([*TINY, *one.split()], said) for one, said in AFTER_A_BASE.items()]]
    + [(one.split(), said) for one, said in ALONE.items()],
    ids=[*AFTER_A_BASE, *ALONE],
)
def test_a_mistake_is_answered_with_place_cause_and_suggestion(command, tmp_path, arguments, said):
    """In one line, without objects of the parser, and no run folder is left."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "folder/checkpoints").mkdir(parents=True)
    (tmp_path / "folder/checkpoints/a.ckpt").touch()
    (tmp_path / "folder/config.yaml").touch()
    with pytest.raises(ConfigError) as caught:
        command("fit", *arguments)
    message = str(caught.value)
    assert message.startswith(said)
    assert "\n" not in message and "Namespace" not in message and "lightning fit" not in message
    assert not list(tmp_path.glob("runs/*"))


def test_an_unknown_option_of_another_command_is_answered_with_the_one_that_was_meant():
    """Also there, abbreviations are refused."""
    with pytest.raises(ConfigError, match="^lit-diffusion score: --feature: no such option; use --features$"):
        dispatch(["score", "a", "b", "--feature=digits"])
    with pytest.raises(ConfigError, match="^unknown command tset; use test "):
        dispatch(["tset"])
    with pytest.raises(ConfigError, match="^lit-diffusion sweep: --dryrun: no such option; use --dry-run$"):
        dispatch(["sweep", str(find("sweeps/bayes.yaml", "sweeps")), "-c", "configs/digits.yaml", "--dryrun"])


def test_a_mistake_of_all_cells_of_a_sweep_names_none():
    """Its base, or an option for all, is to blame."""
    sweep = ["sweep", str(find("sweeps/bayes.yaml", "sweeps")), "--dry-run"]
    with pytest.raises(ConfigError, match="^configs/digit.yaml: no such file; use configs/digits.yaml$"):
        dispatch([*sweep, "-c", "configs/digit.yaml"])
    with pytest.raises(ConfigError, match="^command line: trainer.max_step: no such option; use --trainer.max_steps$"):
        dispatch([*sweep, "-c", "configs/digits.yaml", "--trainer.max_step=3"])


def test_complete_files_apply_before_overlays_and_options_wherever_they_stand():
    """Otherwise the complete file would undo what stands before it."""
    base, overlay = (str(find(f"configs/{name}.yaml")) for name in ("digits", "schedule/cosine"))
    option = "--trainer.max_steps=3"
    for order in (["-c", base, "-c", overlay, option], ["-c", overlay, option, f"--config={base}"]):
        sources = ConfigSources(["fit", *order])
        sources.check_complete(GROUPS)
        assert sources.arguments == ["fit", "-c", base, "-c", overlay, option]
        assert sources.of("model.reverse.process.schedule") == overlay
        assert sources.of("trainer.max_steps") == "command line"


def test_a_validation_after_every_epoch_is_one(toy_run):
    """Without an interval in batches next to it: that of a file is for runs without epochs."""
    run = toy_run("--trainer.check_val_every_n_epoch=1", "--trainer.max_steps=93", "--checkpoint.every_n_steps=93")
    header, *rows = [row.split(",") for row in (run / "metrics.csv").read_text().splitlines()]
    validated = [int(row[header.index("step")]) for row in rows if row[header.index("val/loss")]]
    assert validated == [45, 91]  # 1,500 images in batches of 32: 46 steps an epoch
