"""`lit-diffusion export RUN -o FOLDER`: a run of ours for other code bases, without code in its files."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from lit_diffusion.config import sources as config_sources
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import own, recipe, tensors
from lit_diffusion.interop.construct import part, reverse_of, spec_of
from lit_diffusion.interop.diffusers.fields import number
from lit_diffusion.interop.diffusers.writing import Export
from lit_diffusion.interop.model_card import Card
from lit_diffusion.interop.names import check_fit
from lit_diffusion.interop.run_writing import ORIGIN
from lit_diffusion.runs import checkpoint_files, summary
from lit_diffusion.runs.atomic_files import check_free, folder_written_whole
from lit_diffusion.runs.notice import notice


def main(arguments: list[str]) -> None:
    """Exports and says what. Raises ConfigError for a user's mistake, and then writes nothing."""
    options = parser().parse_args(arguments)
    run = Path(options.run)
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{run} is no run: it has no config.yaml; write the folder of a run, as runs/NAME")
    folder = Path(options.out or f"{run.resolve().name}-{options.format}")
    check_free(folder, "-o")
    told = told_of(run)
    if fault := unfinished(run, told):
        if not options.force:
            raise ConfigError(f"{run} {fault}; --force exports it all the same")
        notice(f"{run} {fault}; exported all the same")
    config = recipe.checked(config_sources.read(run / "config.yaml"), str(run / "config.yaml"))
    file = checkpoint_files.find(options.ckpt_path, run)
    checkpoint = checkpoint_files.read(file)
    weights, kind = weights_of(checkpoint, options.weights, config, file)
    theirs = for_diffusers(config, weights, options.size) if options.format == "diffusers" else None
    shared = recipe.public(config)
    card = Card(run, shared, told, origin_of(run), kind, checkpoint["global_step"], theirs and theirs.num_steps)
    with folder_written_whole(folder) as temporary:
        if theirs:
            theirs.write(temporary, weights)
        else:
            tensors.write(temporary / own.WEIGHTS, weights)
        (temporary / own.RECIPE).write_text(yaml.safe_dump(shared, sort_keys=False, width=120), encoding="utf-8")
        if card.picture:
            shutil.copyfile(card.picture, temporary / "samples.png")
        (temporary / "README.md").write_text(card.text(), encoding="utf-8")
    names = {"ema": "EMA", "raw": "raw"}
    print(f"{folder}: {options.format}, {names[kind]} weights of step {checkpoint['global_step']:,}, from {file}")


def parser() -> Parser:
    """The options of the command."""
    result = Parser(prog="lit-diffusion export", description=__doc__)
    result.add_argument("run", metavar="RUN", help="the folder of a run, as runs/NAME")
    result.add_argument(
        "--format",
        choices=("diffusers", "safetensors"),
        default="diffusers",
        help="diffusers: a folder for DDPMPipeline.from_pretrained, of a U-Net with Gaussian noise; safetensors: any "
        "model, by our names, which `import` reads (default: %(default)s)",
    )
    result.add_argument("-o", "--out", metavar="FOLDER", help="what is made, not there yet (default: NAME-FORMAT)")
    result.add_argument("--weights", choices=("ema", "raw"), default="ema", help="default: %(default)s")
    result.add_argument(
        "--ckpt_path", metavar="CHECKPOINT", default="last", help="last, best or a file (default: %(default)s)"
    )
    result.add_argument("--size", type=int, help="of the images' sides, where the run's data do not say it")
    result.add_argument("--force", action="store_true", help="also a run that has diverged, failed or not finished")
    return result


def told_of(run: Path) -> dict[str, Any]:
    """The run's summary, empty where there is none yet."""
    file = run / summary.FILE
    return summary.read(file) if file.exists() else {}


def origin_of(run: Path) -> dict[str, Any]:
    """Where an imported run came from, empty for one of ours."""
    file = run / ORIGIN
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is damaged; remove it") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is damaged; remove it")
    return content


def unfinished(run: Path, told: Mapping[str, Any]) -> str | None:
    """Why a run should not be passed on, if so."""
    if not told:
        return None if (run / ORIGIN).is_file() else f"has no {summary.FILE}: it has not come to its first step"
    status, reason = told.get("status"), told.get("reason")
    if status == "finished":
        return None
    said = {"diverged": "has diverged", "failed": "has failed", "running": "has not finished"}
    return said.get(str(status), f"has status {status}") + (f" ({reason})" if reason else "")


def weights_of(
    checkpoint: Mapping[str, Any], asked: str, config: Mapping[str, Any], file: Path
) -> tuple[dict[str, Tensor], str]:
    """The reverse model's weights by our names, and whether they are "ema" or "raw"."""
    state = (
        checkpoint["state_dict"] if asked == "ema" else checkpoint.get("current_model_state", checkpoint["state_dict"])
    )
    updates = checkpoint.get("averaging_state", {}).get("n_averaged", 0)
    average = config.get("ema")
    kind = asked if int(updates) and not (isinstance(average, dict) and average.get("decay") == 0) else "raw"
    if kind != asked:
        notice(f"{file} holds no average: its raw weights are exported")
    weights = {name.removeprefix("reverse."): w for name, w in state.items() if name.startswith("reverse.")}
    for name, weight in weights.items():
        tensors.as_float32(weight, name, file)
    return weights, kind


def for_diffusers(config: Mapping[str, Any], weights: dict[str, Tensor], size: int | None) -> Export:
    """The run as diffusers has it. Raises ConfigError for what it cannot express, before anything is written."""
    model = config["model"]["init_args"]
    reverse = with_weights(reverse_of(model), weights)
    size = recipe.image_size(config["data"]) if size is None else number(size, "--size", 1, whole=True)
    arguments = (spec_of(model["reverse"]) or ("", {}))[1]
    return Export(reverse, arguments, part(model.get("sampler", "AncestralSampler"), Sampler), size)


def with_weights(reverse: ReverseModel, weights: Mapping[str, Tensor]) -> ReverseModel:
    """The model that holds the weights. Raises ConfigError where they are another model's."""
    check_fit(weights, reverse.state_dict(), "the checkpoint")
    reverse.load_state_dict(dict(weights), assign=True)
    return reverse
