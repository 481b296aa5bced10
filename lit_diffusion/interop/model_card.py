"""The model card of an export: data, recipe, scores with their protocols, and how to draw samples."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_diffusion import __version__
from lit_diffusion.config.keys import flatten, is_within
from lit_diffusion.config.relevance import ROOT_IS_THE_DATA
from lit_diffusion.errors import one_line
from lit_diffusion.interop.construct import class_name, parse_data, parse_spec
from lit_diffusion.metrics.score import Score
from lit_diffusion.runs.summary import TRACKED

PAPERS = {
    "GaussianReverse": "[Ho et al. 2020](https://arxiv.org/abs/2006.11239)",
    "BernoulliReverse": "[Sohl-Dickstein et al. 2015](https://arxiv.org/abs/1503.03585)",
}
RECIPE = (  # training settings, in reading order
    "model.objective",
    "model.objective.weight",
    "model.objective.timesteps",
    "model.optimizer",
    "model.optimizer.lr",
    "model.lr_schedule.steps",
    "data.batch_size",
    "data.flip",
    "trainer.gradient_clip_val",
    "trainer.precision",
    "ema.decay",
    "seed_everything",
)
MODEL = ("model.reverse", "model.sampler")  # with all settings below these keys


@dataclass(frozen=True)
class Card:
    """README.md of an exported run. summary, origin: its summary.json and origin.json. kind: "ema" or "raw" weights.

    num_steps: T for a folder of diffusers; None for lit_diffusion's format. timesteps: those that a scheduler must be
        given, descending, or None if their number is enough. num_classes: of the labels that the network takes, None if
        it takes none; knows_no_label: whether the row after theirs stands for no label.
    """

    run: Path
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    origin: Mapping[str, Any]
    kind: str
    step: int
    num_steps: int | None
    timesteps: list[int] | None = None
    num_classes: int | None = None
    knows_no_label: bool = False

    @property
    def picture(self) -> Path | None:
        """The grid of samples drawn at the exported step, if any."""
        files = (self.run / "samples").glob(f"*{self.step}_samples.png")
        return next((one for one in files if one.stem.split("_")[0].lstrip("0") == str(self.step)), None)

    def text(self) -> str:
        """Markdown, after the metadata that the hub reads."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        library = "diffusers" if self.num_steps else "lit_diffusion"
        yield from ("---", f"library_name: {library}", "pipeline_tag: unconditional-image-generation")
        yield from ("tags:", "- diffusion", "- ddpm", "- lit_diffusion", "---", "")
        yield from (f"# {escape(self.run.resolve().name)}", "", *self._description())
        status, reason = self.summary.get("status"), self.summary.get("reason")
        if status and status != "finished":
            because = f" ({escape(reason)})" if reason else ""
            yield from ("", f"**This run is not finished: its status is {escape(status)}{because}.**")
        if self.picture:
            yield from ("", "![samples](samples.png)")
        settings = {key: value for key, value in flatten(self.config).items() if value is not None}
        yield from ("", "## Use", "", *self._usage())
        yield from ("", "## Scores", "", *self._scores())
        yield from ("", "## Model", "", *format_table({k: v for k, v in settings.items() if is_within(k, MODEL)}))
        title = "Recipe" if self.step or not self.origin else "Recipe for further training"
        yield from ("", f"## {title}", "", *format_table({k: settings[k] for k in RECIPE if k in settings}), "")
        yield "`config.yaml` holds every setting; `lit-diffusion import` turns this folder into a run again."
        if isinstance(versions := self.summary.get("versions"), dict) and versions:
            used = ", ".join(f"{escape(name)} {escape(version)}" for name, version in versions.items())
            yield from ("", f"Trained with {used}; code at commit {escape(self.summary.get('git'))}.")

    def _description(self) -> Iterator[str]:
        """The kind of model, its data, and who trained it."""
        reverse, data = class_name(self.config["model"]["init_args"]["reverse"]), escape(describe_data(self.config))
        weights = "an exponential moving average of the weights" if self.kind == "ema" else "raw weights, not averaged"
        model = f"A denoising diffusion model ({PAPERS.get(reverse, reverse)})"
        library = f"lit_diffusion {__version__}"
        if not self.origin:
            yield f"{model}, trained on {data} with {library}: {weights}"
            yield f"after {self.step:,} steps."
            return
        source, form = escape(public_name(self.origin.get("source"))), escape(self.origin.get("format"))
        since = f"trained for {self.step:,} more steps on {data}" if self.step else "not trained since"
        yield f"{model}, imported from {source} ({form}) by {library}, {since}:"
        yield f"{weights}."

    def _usage(self) -> Iterator[str]:
        if self.num_steps is None:
            yield from ("```bash", "lit-diffusion import THIS_FOLDER -o runs/imported")
            yield from ("lightning predict -c runs/imported/config.yaml --ckpt_path last", "```")
            return
        if self.timesteps is not None:
            every = self.timesteps == [*range(len(self.timesteps))][::-1]
            yield from self._loop(
                f"timesteps={f'range({len(self.timesteps) - 1}, -1, -1)' if every else self.timesteps}"
            )
            return
        sampler, given = parse_spec(self.config["model"]["init_args"].get("sampler")) or ("AncestralSampler", {})
        steps, ddim = given.get("steps"), sampler == "DDIMSampler"
        count = len(steps) if isinstance(steps, list) else steps or self.num_steps
        if self.num_classes is not None:
            yield from self._loop(f"{count}", f", eta={given.get('eta', 0.0)}" if ddim else "")
            return
        pipeline = "DDIMPipeline" if ddim else "DDPMPipeline"
        eta = f", eta={given.get('eta', 0.0)}, use_clipped_model_output=True" if ddim else ""
        yield from ("```python", f"from diffusers import {pipeline}", "")
        yield f'pipeline = {pipeline}.from_pretrained("THIS_FOLDER")'
        yield f"images = pipeline(batch_size=16, num_inference_steps={count}{eta}).images"
        yield "```"

    def _loop(self, steps: str, more: str = "") -> Iterator[str]:
        """The chain of a scheduler that no pipeline runs: with a list of steps, or with labels.

        steps: arguments of `set_timesteps`; more: of `step`.
        """
        yield from ("```python", "import torch", "from diffusers import DDPMPipeline", "")
        yield 'pipeline = DDPMPipeline.from_pretrained("THIS_FOLDER")'
        yield "scheduler, unet = pipeline.scheduler, pipeline.unet"
        yield f"scheduler.set_timesteps({steps})"
        yield "x = torch.randn(16, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)"
        given = ""
        if self.num_classes is not None:
            given, none = ", class_labels=labels", f"; {self.num_classes} is none" if self.knows_no_label else ""
            yield f"labels = torch.arange(16) % {self.num_classes}  # of the classes 0 to {self.num_classes - 1}{none}"
        yield from ("with torch.no_grad():", "    for t in scheduler.timesteps:")
        yield f"        x = scheduler.step(unet(x, t{given}).sample, t, x{more}).prev_sample"
        yield from ("images = (x / 2 + 0.5).clamp(0, 1)", "```")

    def _scores(self) -> Iterator[str]:
        found = self.summary.get("scores") or {}
        scores = {name: one for name, one in found.items() if isinstance(one, dict) and not name.startswith(TRACKED)}
        if not scores:
            yield "None yet: `lightning test -c runs/NAME/config.yaml --ckpt_path last` computes them."
            return
        protocols = {name: escape_all(one.get("protocol")) for name, one in scores.items()}
        for of_samples in (True, False):  # one pass measures each of these groups, which shares most of its protocol
            group = [name for name, protocol in protocols.items() if ("features" in protocol) == of_samples]
            if not group:
                continue
            shared = set.intersection(*(set(protocols[name].items()) for name in group))
            yield from ("| score | value | details |", "|---|---|---|")
            for name in group:
                details = {key: value for key, value in protocols[name].items() if (key, value) not in shared}
                yield f"| {escape(name)} | {format_value(scores[name])} | {format_protocol(details)} |"
            common = {key: value for key, value in protocols[group[0]].items() if (key, value) in shared}
            yield from ("", f"Protocol: {format_protocol(common)}.", "")
        if any(is_of_other_weights(one.get("protocol") or {}, self.step, self.kind) for one in scores.values()):
            yield f"Scores that are not of step {self.step} and {self.kind} weights are not of this folder."


def format_table(settings: Mapping[str, Any]) -> Iterator[str]:
    """Settings as a Markdown table."""
    yield from ("| setting | value |", "|---|---|")
    for key, value in settings.items():
        yield f"| {escape(key)} | {escape(value)} |"


def is_of_other_weights(protocol: Mapping[str, Any], step: int, kind: str) -> bool:
    """Whether a score was measured on other weights than those of this step and kind."""
    return protocol.get("step", step) != step or protocol.get("weights", kind) != kind


def format_value(score: Mapping[str, Any]) -> str:
    """A score's value with its spread."""
    value, std = score.get("value"), score.get("std")
    is_number = isinstance(value, int | float) and isinstance(std, int | float | None)
    return str(Score(value, std)) if is_number else "diverged"


def format_protocol(protocol: Mapping[str, str]) -> str:
    """A protocol in one line; its values are escaped already."""
    return "; ".join(f"{escape(key)}: {value}" for key, value in protocol.items())


def public_name(source: Any) -> str:
    """A name of the hub, or the last part of a path.

    >>> public_name("google/ddpm-cifar10-32"), public_name("/home/me/model.pt")
    ('google/ddpm-cifar10-32', 'model.pt')
    """
    parts = str(source).split("/")
    is_of_hub = len(parts) == 2 and all(parts) and parts[0] not in (".", "..", "~")
    return str(source) if is_of_hub else parts[-1] or parts[-2]


def describe_data(config: Mapping[str, Any]) -> str:
    """The data set of a configuration: its class, and the name of its folder or file."""
    name, given = parse_data(config["data"])
    where = given.get("root") if name in ROOT_IS_THE_DATA else given.get("file")
    return f"{name} ({Path(str(where)).name})" if where else name


def escape(value: Any) -> str:
    """A value as one line of Markdown text without markup; long lists are shortened.

    >>> escape("<b>|x")
    '\\\\<b\\\\>\\\\|x'
    """
    if isinstance(value, list) and len(value) > 20:
        value = f"{len(value)} values from {value[0]} to {value[-1]}"
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", one_line(value))


def escape_all(protocol: Any) -> dict[str, str]:
    """A protocol with its values escaped; empty if it is not one."""
    return {str(key): escape(value) for key, value in protocol.items()} if isinstance(protocol, dict) else {}
