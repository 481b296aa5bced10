"""`lit-diffusion import SOURCE -o FOLDER`: a model of another code base becomes a run of ours."""

import shlex
from pathlib import Path
from typing import Any

from lit_diffusion.config import sources as config_sources
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.diffusion.objective import Objective
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.interop import recipe, run_writing
from lit_diffusion.interop.construct import complete, name_of, part, reverse_of
from lit_diffusion.interop.names import check_fit
from lit_diffusion.interop.opening import opened
from lit_diffusion.interop.source import Source, UNetSource
from lit_diffusion.runs.atomic_files import check_free


def main(arguments: list[str]) -> None:
    """Imports and says what. Raises ConfigError for a user's mistake, and then writes nothing."""
    options = parser().parse_args(arguments)
    folder = Path(options.out)
    check_free(folder, "-o")
    source = opened(options.source)
    config, name = configuration(source, options.config)
    model = config["model"]["init_args"]
    reverse = reverse_of(model)
    state = state_of(model, reverse, source)
    is_average = options.weights == "ema"
    run_writing.write(folder, config, state, origin(source, options.weights), is_average)
    print(*report(source, model, reverse, name, folder, options.weights), sep="\n")


def parser() -> Parser:
    """The options of the command."""
    result = Parser(prog="lit-diffusion import", description=__doc__)
    result.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of diffusers; a file of weights: diffusers' beside its config.json, PyTorch conversions of the "
        "DDPM release, improved-diffusion's; a folder that `export` has written; or a name of the hub, as "
        "google/ddpm-cifar10-32",
    )
    result.add_argument("-o", "--out", metavar="FOLDER", required=True, help="the run's folder, not there yet")
    result.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        help="configuration of data and recipe, and what weights do not say: T, schedule, heads; later files override "
        "(default: that beside the weights, else a shipped one of these images)",
    )
    result.add_argument(
        "--weights",
        choices=("ema", "raw"),
        default="ema",
        help="what SOURCE holds: an average, as nearly all that are published, or raw weights (default: %(default)s)",
    )
    return result


def configuration(source: Source, files: list[str]) -> tuple[dict[str, Any], str]:
    """The complete configuration of the run, and the name of its recipe."""
    beside = config_sources.read(source.recipe) if source.recipe else {}
    if files:
        name, config = " and ".join(files), recipe.read(files)
    elif recipe.is_ours(beside) or not isinstance(source, UNetSource):
        name, config = str(source.recipe), recipe.public(beside)
    elif source.recipe_needed:
        raise ConfigError(f"{source.name}: {source.recipe_needed}")
    else:
        name = recipe.guessed(source.name, source.channels, source.image_size or source.guessed_size)
        config = recipe.read([name])
    config = {key: value for key, value in recipe.checked(config, name).items() if key not in ("run", "ckpt_path")}
    if isinstance(source, UNetSource):
        config["data"] = recipe.with_images(config["data"], source.channels, source.image_size, name)
    return {**config, "model": {**config["model"], "init_args": source.onto(config["model"]["init_args"])}}, name


def state_of(model: dict[str, Any], reverse: ReverseModel, source: Source) -> dict[str, Any]:
    """The state of the module: the source's weights and what a fresh objective has. Raises ConfigError where parts do
    not fit each other.
    """
    weights = source.state(reverse, model)
    check_fit(weights, reverse.state_dict(), source.name)
    objective = part(model.get("objective", "Simple"), Objective)
    objective.bind(reverse)
    part(model.get("sampler", "AncestralSampler"), Sampler).check_model(reverse)
    return {
        **{f"reverse.{name}": weight for name, weight in weights.items()},
        **{f"objective.{name}": value for name, value in objective.state_dict().items()},
    }


def origin(source: Source, weights: str) -> dict[str, Any]:
    """What origin.json says."""
    return {"source": source.name, "format": source.format, "weights": weights, "sha256": source.checksums()}


def report(
    source: Source, model: dict[str, Any], reverse: ReverseModel, recipe_name: str, folder: Path, weights: str
) -> list[str]:
    """Lines for people."""
    count = sum(parameter.numel() for parameter in reverse.parameters())
    configuration = shlex.quote(one_line(folder / "config.yaml"))
    settings = complete(model["reverse"])
    size = source.image_size if isinstance(source, UNetSource) else None
    network, *parts = (
        name_of(settings[key], otherwise=type(settings[key]).__name__)
        for key in ("network", "parameterization", "variance")
        if key in settings
    )
    return [
        f"source     {one_line(source.name)}: {source.format}, {'EMA' if weights == 'ema' else 'raw'} weights",
        f"network    {network}, {count:,} parameters{f', {size}x{size} images' if size else ''}",
        f"diffusion  {', '.join([type(reverse.process.schedule).__name__, f'T = {reverse.num_steps}', *parts])}; "
        f"{name_of(model.get('sampler'), 'AncestralSampler')}",
        f"recipe     {one_line(recipe_name)}",
        *(f"note       {note}" for note in source.notes),
        "",
        f"lightning test -c {configuration} --ckpt_path last    # scores it",
        f"lightning fit -c {configuration} --ckpt_path last     # trains it on",
    ]
