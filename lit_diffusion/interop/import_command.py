"""`lit-diffusion import SOURCE -o FOLDER`: turn a model of another code base into a run."""

import shlex
from pathlib import Path
from typing import Any

from lit_diffusion.config import config_files
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.diffusion.objective import Objective
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.interop import recipe, run_writing
from lit_diffusion.interop.construct import build_part, build_reverse, class_name, with_defaults
from lit_diffusion.interop.names import check_fit
from lit_diffusion.interop.opening import open_source
from lit_diffusion.interop.source import Source, UNetSource
from lit_diffusion.interop.weight_sets import guess_kind, settle
from lit_diffusion.runs.atomic_files import check_free


def main(arguments: list[str]) -> None:
    """Imports a model and prints a report. Raises ConfigError for a user's mistake, before anything is written."""
    options = make_parser().parse_args(arguments)
    folder = Path(options.out)
    check_free(folder, "-o")
    source = open_source(options.source, options.weights)
    kind, note = settle(source.holds, guess_kind(Path(options.source)), options.weights, source.name)
    source.notes.extend([note] if note else [])
    config, name = make_configuration(source, options.config)
    model = config["model"]["init_args"]
    reverse = build_reverse(model)
    state = make_state(model, reverse, source)
    run_writing.write(folder, config, state, describe_origin(source, kind), is_average=kind == "ema")
    print(*report_lines(source, model, reverse, name, folder, kind), sep="\n")


def make_parser() -> Parser:
    """The command's options."""
    result = Parser(prog="lit-diffusion import", description=__doc__)
    result.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of diffusers; a file of weights: diffusers' next to its config.json, a PyTorch conversion of "
        "the "
        "DDPM release, or improved-diffusion's; a folder that `export` wrote; or a name of the hub, such as "
        "google/ddpm-cifar10-32",
    )
    result.add_argument(
        "-o", "--out", metavar="FOLDER", required=True, help="the new run's folder, which must not exist"
    )
    result.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        help="configuration of the data and recipe, and of what weights do not contain: T, schedule, heads; later "
        "files "
        "override earlier ones (default: the one next to the weights, else a shipped one for these images)",
    )
    result.add_argument(
        "--weights",
        choices=("ema", "raw"),
        help="which weights to import if SOURCE holds both, and what they are if SOURCE does not say (default: ema, as "
        "nearly all published models are)",
    )
    return result


def make_configuration(source: Source, files: list[str]) -> tuple[dict[str, Any], str]:
    """The run's complete configuration, and the name of its recipe."""
    nearby = config_files.read(source.recipe) if source.recipe else {}
    if files:
        name, config = " and ".join(files), recipe.read(files)
    elif recipe.is_ours(nearby) or not isinstance(source, UNetSource):
        name, config = str(source.recipe), recipe.make_public(nearby)
    elif source.recipe_needed:
        raise ConfigError(f"{source.name}: {source.recipe_needed}")
    else:
        name = recipe.guess(source.name, source.channels, source.image_size or source.guessed_size)
        config = recipe.read([name])
    config = {key: value for key, value in recipe.check(config, name).items() if key not in ("run", "ckpt_path")}
    if isinstance(source, UNetSource):
        config["data"] = recipe.set_images(config["data"], source.channels, source.image_size, name)
    return {**config, "model": {**config["model"], "init_args": source.apply_to(config["model"]["init_args"])}}, name


def make_state(model: dict[str, Any], reverse: ReverseModel, source: Source) -> dict[str, Any]:
    """The module's state: the source's weights and a new objective's buffers. Raises ConfigError if parts are
    incompatible.
    """
    weights = source.map_state(reverse, model)
    check_fit(weights, reverse.state_dict(), source.name)
    objective: Objective = build_part(model.get("objective", "Simple"), Objective)
    objective.bind(reverse)
    sampler: Sampler = build_part(model.get("sampler", "AncestralSampler"), Sampler)
    sampler.check_model(reverse)
    return {
        **{f"reverse.{name}": weight for name, weight in weights.items()},
        **{f"objective.{name}": value for name, value in objective.state_dict().items()},
    }


def describe_origin(source: Source, weights: str) -> dict[str, Any]:
    """The content of origin.json."""
    return {"source": source.name, "format": source.format, "weights": weights, "sha256": source.checksums()}


def report_lines(
    source: Source, model: dict[str, Any], reverse: ReverseModel, recipe_name: str, folder: Path, weights: str
) -> list[str]:
    """A summary of the imported run, and the commands to use next, as lines of text."""
    count = sum(parameter.numel() for parameter in reverse.parameters())
    configuration = shlex.quote(one_line(folder / "config.yaml"))
    settings = with_defaults(model["reverse"])
    size = source.image_size if isinstance(source, UNetSource) else None
    network, *parts = (
        class_name(settings[key], otherwise=type(settings[key]).__name__)
        for key in ("network", "parameterization", "variance")
        if key in settings
    )
    return [
        f"source     {one_line(source.name)}: {source.format}, {'EMA' if weights == 'ema' else 'raw'} weights",
        f"network    {network}, {count:,} parameters{f', {size}x{size} images' if size else ''}",
        f"diffusion  {', '.join([type(reverse.process.schedule).__name__, f'T = {reverse.num_steps}', *parts])}; "
        f"{class_name(model.get('sampler'), 'AncestralSampler')}",
        f"recipe     {one_line(recipe_name)}",
        *(f"note       {note}" for note in source.notes),
        "",
        f"lightning test -c {configuration} --ckpt_path last    # scores it",
        f"lightning fit -c {configuration} --ckpt_path last     # continues its training",
    ]
