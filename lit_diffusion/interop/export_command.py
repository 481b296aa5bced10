"""`lit-diffusion export RUN -o FOLDER`: a run for other code bases, as files without code."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from lit_diffusion.config import config_files
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.interop import native, recipe, tensors
from lit_diffusion.interop.construct import build_part, build_reverse, parse_spec
from lit_diffusion.interop.diffusers.fields import check_number
from lit_diffusion.interop.diffusers.writing import Export
from lit_diffusion.interop.model_card import Card
from lit_diffusion.interop.names import check_fit
from lit_diffusion.interop.run_writing import ORIGIN
from lit_diffusion.runs import checkpoint_files, summary
from lit_diffusion.runs.atomic_files import check_free, folder_written_whole
from lit_diffusion.runs.notice import notice


def main(arguments: list[str]) -> None:
    """Exports a run and prints a line. Raises ConfigError for a user's mistake, before anything is written."""
    options = make_parser().parse_args(arguments)
    run = Path(options.run)
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{run}: expected the folder of a run with a config.yaml, such as runs/NAME")
    folder = Path(options.out or f"{run.resolve().name}-{options.format}")
    check_free(folder, "-o")
    found = read_summary(run)
    if fault := why_unfinished(run, found):
        if not options.force:
            raise ConfigError(f"{run} {fault}; use --force to export it anyway")
        notice(f"{run} {fault}; exported anyway")
    config = recipe.check(config_files.read(run / "config.yaml"), str(run / "config.yaml"))
    file = checkpoint_files.find(options.ckpt_path, run)
    checkpoint = checkpoint_files.read(file)
    weights, kind = read_weights(checkpoint, options.weights, config, file)
    theirs = convert_to_diffusers(config, weights, options.size) if options.format == "diffusers" else None
    shared = recipe.make_public(config)
    of_theirs = (theirs.num_steps, theirs.timesteps, *theirs.labels) if theirs else (None,)
    card = Card(run, shared, found, read_origin(run), kind, checkpoint["global_step"], *of_theirs)
    with folder_written_whole(folder) as temporary:
        if theirs:
            theirs.write(temporary, weights, kind)
        else:
            tensors.write(temporary / native.WEIGHTS, weights, kind)
        (temporary / native.RECIPE).write_text(yaml.safe_dump(shared, sort_keys=False, width=120), encoding="utf-8")
        if card.picture:
            shutil.copyfile(card.picture, temporary / "samples.png")
        (temporary / "README.md").write_text(card.text(), encoding="utf-8")
    names = {"ema": "EMA", "raw": "raw"}
    print(f"{folder}: {options.format}, {names[kind]} weights of step {checkpoint['global_step']:,}, from {file}")


def make_parser() -> Parser:
    """The command's options."""
    result = Parser(prog="lit-diffusion export", description=__doc__)
    result.add_argument("run", metavar="RUN", help="the folder of a run, such as runs/NAME")
    result.add_argument(
        "--format",
        choices=("diffusers", "safetensors"),
        default="diffusers",
        help="diffusers: a folder for DDPMPipeline.from_pretrained, for a U-Net with Gaussian noise; safetensors: any "
        "model, in lit_diffusion's format, which `import` reads (default: %(default)s)",
    )
    result.add_argument(
        "-o", "--out", metavar="FOLDER", help="the new folder, which must not exist (default: NAME-FORMAT)"
    )
    result.add_argument("--weights", choices=("ema", "raw"), default="ema", help="default: %(default)s")
    result.add_argument(
        "--ckpt_path", metavar="CHECKPOINT", default="last", help="last, best or a file (default: %(default)s)"
    )
    result.add_argument(
        "--size", type=int, help="side length of the images in pixels, if the run's data do not determine it"
    )
    result.add_argument(
        "--force", action="store_true", help="export a run even if it diverged, failed or did not finish"
    )
    return result


def read_summary(run: Path) -> dict[str, Any]:
    """The run's summary.json; empty if there is none."""
    file = run / summary.FILE
    return summary.read(file) if file.exists() else {}


def read_origin(run: Path) -> dict[str, Any]:
    """The origin.json of an imported run; empty for a trained one."""
    file = run / ORIGIN
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is damaged; remove it") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is damaged; remove it")
    return content


def why_unfinished(run: Path, found: Mapping[str, Any]) -> str | None:
    """Why a run should not be published, or None."""
    if not found:
        return None if (run / ORIGIN).is_file() else f"has no {summary.FILE}: it did not reach its first step"
    status, reason = found.get("status"), found.get("reason")
    if status == "finished":
        return None
    texts = {"diverged": "diverged", "failed": "failed", "running": "did not finish"}
    return texts.get(str(status), f"has status {status}") + (f" ({reason})" if reason else "")


def read_weights(
    checkpoint: Mapping[str, Any], asked: str, config: Mapping[str, Any], file: Path
) -> tuple[dict[str, Tensor], str]:
    """The reverse model's weights, and whether they are "ema" or "raw"."""
    state = (
        checkpoint["state_dict"] if asked == "ema" else checkpoint.get("current_model_state", checkpoint["state_dict"])
    )
    updates = checkpoint.get("averaging_state", {}).get("n_averaged", 0)
    average = config.get("ema")
    kind = asked if int(updates) and not (isinstance(average, dict) and average.get("decay") == 0) else "raw"
    if kind != asked:
        notice(f"{file} holds no averaged weights; exporting its raw weights")
    weights = {name.removeprefix("reverse."): w for name, w in state.items() if name.startswith("reverse.")}
    for name, weight in weights.items():
        tensors.to_float32(weight, name, file)
    return weights, kind


def convert_to_diffusers(config: Mapping[str, Any], weights: dict[str, Tensor], size: int | None) -> Export:
    """The run in diffusers' format. Raises ConfigError for what that cannot express, before anything is written."""
    model = config["model"]["init_args"]
    reverse = load_weights(build_reverse(model), weights)
    size = recipe.image_size(config["data"]) if size is None else check_number(size, "--size", 1, whole=True)
    arguments = (parse_spec(model["reverse"]) or ("", {}))[1]
    sampler: Sampler = build_part(model.get("sampler", "AncestralSampler"), Sampler)
    return Export(reverse, arguments, sampler, size)


def load_weights(reverse: ReverseModel, weights: Mapping[str, Tensor]) -> ReverseModel:
    """Loads the weights into the model. Raises ConfigError if they are another model's."""
    check_fit(weights, reverse.state_dict(), "the checkpoint")
    reverse.load_state_dict(dict(weights), assign=True)
    return reverse
