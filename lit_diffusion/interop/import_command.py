"""`lit-diffusion import SOURCE -o FOLDER`: a model of another code base becomes a run of ours."""

from pathlib import Path
from typing import Any

from lit_diffusion.arguments import Parser
from lit_diffusion.diffusion.objective import Objective
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import recipe, run_writing
from lit_diffusion.interop.construct import built, name_of, reverse_of, spec_of
from lit_diffusion.interop.opening import opened
from lit_diffusion.interop.own import OwnModel
from lit_diffusion.interop.source import Source


def main(arguments: list[str]) -> None:
    """Imports and says what. Raises ConfigError for a user's mistake, and then writes nothing."""
    options = parser().parse_args(arguments)
    folder = Path(options.out)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"-o: {folder} is there already; write another, or remove it")
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
    if files:
        name, config = " and ".join(files), recipe.read(files)
    elif source.recipe and is_ours(config := recipe.of_file(source.recipe)):
        name = str(source.recipe)
    else:
        name = recipe.guessed(source.name, source.channels, source.image_size)
        config = recipe.read([name])
    recipe.checked(config, name)
    config = {key: value for key, value in config.items() if key not in ("run", "ckpt_path")}
    model = dict(config["model"])
    model["init_args"] = source.onto(model["init_args"])
    if not isinstance(source, OwnModel):
        config["data"] = recipe.with_size(config["data"], source.channels, source.image_size, name)
    return {**config, "model": model}, name


def is_ours(config: dict[str, Any]) -> bool:
    """Whether a config.yaml beside weights is one of this package."""
    model = config.get("model")
    spec = spec_of(model) if isinstance(model, dict) else None
    return spec is not None and spec_of(spec[1].get("reverse")) is not None


def state_of(model: dict[str, Any], reverse: ReverseModel, source: Source) -> dict[str, Any]:
    """The state of the module: the source's weights and what a fresh objective has. Raises ConfigError where parts do
    not fit each other.
    """
    if isinstance(source, OwnModel):
        own = source.adopted(reverse, {})
    else:
        options = spec_of(spec_of(model["reverse"])[1]["network"])[1]  # type: ignore[index]
        own = {f"network.{name}": weight for name, weight in source.adopted(reverse.network, options).items()}  # type: ignore[arg-type]
    objective: Objective = built(model.get("objective", "Simple"))
    sampler: Sampler = built(model.get("sampler", "AncestralSampler"))
    objective.bind(reverse)
    sampler.check_model(reverse)
    fresh = {f"objective.{name}": value for name, value in objective.state_dict().items()}
    return {**{f"reverse.{name}": weight for name, weight in own.items()}, **fresh}


def origin(source: Source, weights: str) -> dict[str, Any]:
    """What origin.json says."""
    return {"source": source.name, "format": source.format, "weights": weights, "sha256": source.checksums()}


def report(
    source: Source, model: dict[str, Any], reverse: ReverseModel, recipe_name: str, folder: Path, weights: str
) -> list[str]:
    """Lines for people."""
    count = sum(parameter.numel() for parameter in reverse.parameters())
    spec = spec_of(model["reverse"]) or ("", {})
    schedule = type(reverse.process.schedule).__name__
    parts = [name_of(spec[1].get(key), "default") for key in ("parameterization", "variance")]
    size = f", {source.image_size}x{source.image_size} images" if getattr(source, "image_size", None) else ""
    return [
        f"source     {source.name}: {source.format}, {'EMA' if weights == 'ema' else 'raw'} weights",
        f"network    {name_of(spec[1].get('network'))}, {count:,} parameters{size}",
        f"diffusion  {schedule}, T = {reverse.num_steps}; {', '.join(parts)}; {name_of(model.get('sampler'))}",
        f"recipe     {recipe_name}",
        "",
        f"lightning test -c {folder / 'config.yaml'} --ckpt_path last    # scores it",
        f"lightning fit -c {folder / 'config.yaml'} --ckpt_path last     # trains it on",
    ]
