"""The shipped sweep files: each cell, on the command line that W&B's own code writes, builds what it names."""

import dataclasses
import itertools
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from lit_diffusion.callbacks import EMA, GenerationMetrics
from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.cell import Cell
from lit_diffusion.sweep.sweep_file import SweepFile
from lit_diffusion.training.command import TrainingCLI
from tests.conftest import CONFIGS, DIGITS, ROOT

SWEEPS = {path.stem: path for path in sorted((ROOT / "sweeps").glob("*.yaml"))}
FAMILIES = SWEEPS.pop("families")  # over complete configurations, so that it has no base
FAMILY_MODULES = {
    "digits": "DiffusionModule",
    "digits_vae": "VAEModule",
    "digits_hierarchical_vae": "HierarchicalVAEModule",
    "digits_gan": "GANModule",
}
QUICK = ["--trainer.accelerator=cpu", "--trainer.logger=false", "--scores.num_samples=0"]
TESTED = ("samplers", "samplers_long", "samplers_spacing")  # a trained model, not trained
BASES = {
    "digits": (DIGITS, QUICK),
    "cifar10": (f"{CONFIGS}/cifar10.yaml", [*QUICK, "--model.reverse.network.width=32"]),
}
NEEDS = {"guidance": ["--model.reverse.network.num_classes=10"]}  # of the base
SIMPLE = {"objective": "Simple", "objective.weighting": "Constant", "objective.timesteps": "Uniform"}
BOUND = {"objective": "VariationalBound", "objective.scale": "per_term", "objective.timesteps": "Uniform"}
FIXED = {"reverse.variance": "BetaVariance"}
LINEAR = {"reverse.process.schedule": "LinearSchedule", "reverse.process.schedule.num_steps": 1000}
# What the model holds once an overlay has been applied to a base that predicts eps by L_simple.
OVERLAYS: dict[str, dict[str, Any]] = {
    "objective/simple": {**SIMPLE, **FIXED, **LINEAR},
    "objective/variational_bound": {**BOUND, **FIXED},
    "objective/variational_bound_times_t": {**BOUND, **FIXED, "objective.scale": "times_T"},
    "objective/variational_bound_importance_sampled": {**BOUND, **FIXED, "objective.timesteps": "ImportanceSampled"},
    "objective/variational_bound_learned_diagonal": {**BOUND, "reverse.variance": "LearnedDiagonal"},
    "objective/hybrid": {"objective": "Hybrid", "objective.timesteps": "Uniform", "reverse.variance": "LearnedRange"},
    "weighting/bound": {**SIMPLE, **FIXED, "objective.weighting": "BoundWeight"},
    "weighting/min_snr": {**SIMPLE, **FIXED, "objective.weighting": "MinSNR"},
    "timesteps/low_discrepancy": {**SIMPLE, **FIXED, "objective.timesteps": "LowDiscrepancy"},
    **{
        f"schedule/{name}": {**LINEAR, "reverse.process.schedule": kind, "reverse.parameterization": "Epsilon"}
        for name, kind in {
            "linear": "LinearSchedule",
            "quadratic": "QuadraticSchedule",
            "constant": "ConstantSchedule",
            "warmup10": "WarmupSchedule",
            "warmup50": "WarmupSchedule",
            "jsd": "JSDSchedule",
            "cosine": "CosineSchedule",
            "sigmoid": "SigmoidSchedule",
            "rescaled_linear": "RescaledLinearSchedule",
        }.items()
    },
}
OVERLAYS["schedule/jsd"]["reverse.parameterization"] = "CleanImage"
WARM = {"schedule/warmup10": 99, "schedule/warmup50": 499}  # steps with another beta than the last


def few_cells(name: str) -> list[Cell]:
    """All cells of a grid, and a few draws of a search; bayes begins with such draws."""
    sweep = SweepFile.read(SWEEPS[name])
    return sweep.cells() if sweep.method == "grid" else dataclasses.replace(sweep, method="random").cells(3)


def by_agent(name: str, settings: list[tuple[str, Any]]) -> list[str]:
    """The command line of a run by W&B's own functions, put together as wandb_agent.py does."""
    from wandb.sdk.launch.sweeps.utils import (  # 2 s, which only the process that runs these tests should take
        create_sweep_command,
        create_sweep_command_args,
        load_sweep_config,
    )

    command = create_sweep_command([*load_sweep_config(str(ROOT / f"sweeps/{name}.yaml"))["command"]])
    variables = create_sweep_command_args({"args": {key: {"value": value} for key, value in settings}})
    variables |= {"env": ["/usr/bin/env"], "program": ["lightning"]}
    items = [variables[item[2:-1]] if item[:2] + item[-1] == "${}" else [item] for item in map(str, command)]
    return [*itertools.chain(*items)]


@pytest.fixture
def build(command, monkeypatch, tmp_path):
    """Parses and instantiates a command line of any sub-command and runs nothing; wandb's variables are set."""
    seen: list[TrainingCLI] = []
    monkeypatch.setattr(TrainingCLI, "_run_subcommand", lambda self, name: seen.append(self))
    checkpoint = tmp_path / "some.ckpt"
    checkpoint.touch()
    monkeypatch.setenv("LIT_DIFFUSION_CHECKPOINT", str(checkpoint))

    def run(*arguments: str) -> TrainingCLI:
        command(*arguments)
        return seen[-1]

    return run


@pytest.fixture
def agent(build, monkeypatch):
    """Builds a cell of a shipped file as an agent would run it, on a base with options that make it small."""

    def run(name: str, base: str, options: list[str], settings: list[tuple[str, Any]]) -> TrainingCLI:
        monkeypatch.setenv("LIT_DIFFUSION_CONFIG", base)
        arguments = by_agent(name, settings)
        assert arguments[:2] == ["/usr/bin/env", "lightning"]
        own = arguments.index(base) + 1
        return build(*arguments[2:own], *options, *NEEDS.get(name, []), *arguments[own:])

    return run


def found(cli: TrainingCLI, key: str) -> Any:
    """What was built for a key: the name of a class, or a value."""
    network = cli.model.reverse.network
    special = {
        "model.optimizer.lr": lambda: cli.model.optimizer(cli.model.parameters()).param_groups[0]["lr"],
        "model.reverse.network.width": lambda: network.stem.out_channels,
        "model.reverse.network.dropout": lambda: next(m.p for m in network.modules() if isinstance(m, nn.Dropout)),
        "ema.decay": lambda: callback(cli, EMA).decay,
        "data.batch_size": lambda: cli.datamodule.batch_size,
    }
    part = special[key]() if key in special else attrgetter(key.removeprefix("model."))(cli.model)
    return part if isinstance(part, str | int | float) else type(part).__name__


def callback(cli: TrainingCLI, kind: type) -> Any:
    return next(one for one in cli.trainer.callbacks if isinstance(one, kind))


def check(cli: TrainingCLI, cell: Cell) -> None:
    """The objects are those that the cell names."""
    for key, value in cell.parameters:
        if key == "config":
            overlay = str(value).removeprefix("configs/").removesuffix(".yaml")
            swept = [one.removeprefix("model.") for one, _ in cell.parameters]
            expected = {one: kind for one, kind in OVERLAYS[overlay].items() if one not in swept}
            assert {one: found(cli, one) for one in expected} == expected
            if overlay in WARM:
                schedule = cli.model.reverse.process.schedule
                beta = schedule.beta(schedule.steps(), schedule.steps() - 1)
                assert int((beta < beta[-1] * (1 - 1e-9)).sum()) == WARM[overlay]
        else:
            assert found(cli, key) == value


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", SWEEPS)
def test_every_cell_builds_what_it_names_in_whatever_order_a_server_sends_it(name, base, agent):
    """On CIFAR10 in W&B's own, alphabetical, order; on digits in the opposite one.

    No two cells of a file are the same experiment.
    """
    experiments, folders = [], set()
    cells = few_cells(name) if name not in TESTED else few_cells(name)[::5]
    for cell in cells:
        settings = sorted(cell.parameters)
        assert [item for item in by_agent(name, settings) if item in cell.arguments] == cell.arguments
        cli = agent(name, *BASES[base], settings if base == "cifar10" else settings[::-1])
        check(cli, cell)
        assert cli.subcommand == ("test" if name in (*TESTED, "guidance") else "fit")
        assert cli.run.folder.parent.name == name
        if name in TESTED:
            assert_takes_the_steps_that_it_says(cli, cell)
            folders.add(cli.run.folder)
        experiments.append({**cli.settings.as_dict(), "run": None})
    assert all(one != other for one, other in itertools.combinations(experiments, 2))
    if name in TESTED:  # a trained run's config.yaml has a name, which no two cells share
        assert len(folders) == len(cells)
        assert name != "samplers" or Path("runs/samplers/lit_diffusion.diffusion.DDIMSampler-20") in folders


def assert_takes_the_steps_that_it_says(cli: TrainingCLI, cell: Cell) -> None:
    """1000 are all steps; solvers are deterministic."""
    sampler, schedule = cli.model.sampler, cli.model.reverse.process.schedule
    steps = [*sampler.subset(schedule)]
    assert len(steps) == dict(cell.parameters)["model.sampler.steps"]
    assert (steps[0], steps[-1]) == (1, 1000)
    assert getattr(sampler, "eta", 0.0) == 0.0


@pytest.mark.parametrize("name", SWEEPS)
def test_the_same_cell_without_an_agent(name, build, tmp_path):
    """The arguments of `Cell`, with the file's options and the cell's name as the folder, build the same."""
    sweep, cell = SweepFile.read(SWEEPS[name]), few_cells(name)[-1].with_seed(5)
    checkpoint = [f"--ckpt_path={tmp_path / 'some.ckpt'}"] if sweep.subcommand == "test" else []
    own = [f"--run.dir={tmp_path}/{sweep.name}", f"--run.name={cell.name}", *NEEDS.get(name, [])]
    cli = build(sweep.subcommand, "-c", DIGITS, *QUICK, *sweep.options, *cell.arguments, *own, *checkpoint)
    check(cli, Cell(cell.parameters[:-1]))
    assert cli.settings.seed_everything == 5
    assert cli.run.folder == tmp_path / sweep.name / cell.name


@pytest.mark.parametrize("cell", SweepFile.read(FAMILIES).cells(), ids=lambda cell: cell.name)
def test_a_sweep_over_complete_configurations_needs_no_base(cell, build):
    """By an agent and without one; the model in latents also needs its autoencoder's run, and says how to train it."""
    sweep, own = SweepFile.read(FAMILIES), ["--trainer.accelerator=cpu", "--trainer.logger=false"]
    commands = [
        by_agent("families", [*cell.parameters])[2:],
        [sweep.subcommand, *sweep.options, *cell.arguments, "--run.dir=runs/families"],
    ]
    for arguments in commands:
        if "latent" in cell.name:
            with pytest.raises(
                ConfigError, match="expected the folder of a trained VAE's run.*digits_autoencoder.yaml"
            ):
                build(*arguments, *own)
            continue
        cli = build(*arguments, *own)
        family = FAMILY_MODULES[Path(dict(cell.parameters)["config"]).stem]
        assert type(cli.model).__name__ == family and type(cli.datamodule).__name__ == "Digits"
        assert cli.run.folder.parent == Path("runs/families")


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("random_search", {"run": {"name": "b${data.init_args.batch_size}"}}, "b{data.batch_size}"),
        ("random_search", {"scores": {"batch_size": "${data.init_args.batch_size}"}}, None),
        ("samplers", {"run": {"name": "T${model.init_args.sampler.init_args.steps}"}}, None),
        (
            "schedules",
            {"run": {"name": "${model.init_args.reverse.init_args.process.init_args.schedule.class_path}"}},
            "lit_diffusion.diffusion.RescaledLinearSchedule",
        ),
    ],
)
def test_a_base_that_refers_to_swept_keys_has_their_swept_values(name, setting, value, agent, tmp_path):
    """`${...}` in the base follows the swept value, not the base's own."""
    content = yaml.safe_load(Path(DIGITS).read_text())
    for key, part in setting.items():
        content[key] = {**content.get(key, {}), **part}
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(content))
    cell = few_cells(name)[-1]
    cli = agent(name, str(base), QUICK, [*cell.parameters])
    check(cli, cell)
    swept = dict(cell.parameters)
    if "scores" in setting:
        assert callback(cli, GenerationMetrics).batch_size == swept["data.batch_size"] != 128
    elif name == "samplers":  # whose command names runs itself
        assert cli.settings.run.name == "lit_diffusion.diffusion.HeunSampler-50"
    else:
        assert cli.settings.run.name == value.replace("{data.batch_size}", str(swept.get("data.batch_size")))


def test_sweeps_over_overlays_leave_none_out():
    """But timesteps/all, which is too slow."""
    overlays = {
        "schedules": [*CONFIGS.glob("schedule/*.yaml")],
        "objectives": [
            path for room in ("objective", "weighting", "timesteps") for path in CONFIGS.glob(f"{room}/*.yaml")
        ],
    }
    for name, paths in overlays.items():
        swept = {ROOT / dict(cell.parameters)["config"] for cell in few_cells(name)}
        # alone it is L_simple by importance sampling, which nobody means; it is swept with the bound
        left_out = {CONFIGS / "timesteps/all.yaml", CONFIGS / "timesteps/importance_sampled.yaml"}
        assert swept == {*paths} - left_out


def test_table2_has_the_papers_six_rows_and_table1_its_own_two():
    """PAPERS: Ho et al. 2020, tables 1 and 2."""
    cells = [dict(cell.parameters) for cell in few_cells("table2")]
    assert [(cell["model.reverse.parameterization"], Path(cell["config"]).stem) for cell in cells] == [
        *itertools.product(
            ("PosteriorMean", "Epsilon"), ("variational_bound_learned_diagonal", "variational_bound", "simple")
        )
    ]
    assert [cell.name for cell in few_cells("table1")] == [
        "config=objective-variational_bound",
        "config=objective-simple",
    ]
