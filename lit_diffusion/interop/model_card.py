"""The model card that an export comes with: data, recipe, scores with their protocols, and how to draw images."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lit_diffusion import __version__
from lit_diffusion.config.keys import flatten, is_within
from lit_diffusion.errors import one_line
from lit_diffusion.interop.construct import name_of, name_of_data, spec_of
from lit_diffusion.metrics.score import Score
from lit_diffusion.runs.summary import TRACKED

PAPERS = {
    "GaussianReverse": "[Ho et al. 2020](https://arxiv.org/abs/2006.11239)",
    "BernoulliReverse": "[Sohl-Dickstein et al. 2015](https://arxiv.org/abs/1503.03585)",
}
RECIPE = (  # settings of training, in the order of reading
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
MODEL = ("model.reverse", "model.sampler")  # all settings below


class Card:
    """README.md of an exported run. told: its summary.json; origin: its origin.json. kind: "ema" or "raw".

    num_steps: T, for a folder of diffusers; None for our own format.
    """

    def __init__(
        self,
        run: Path,
        config: Mapping[str, Any],
        told: Mapping[str, Any],
        origin: Mapping[str, Any],
        kind: str,
        step: int,
        num_steps: int | None,
    ):
        self.name = run.resolve().name
        self.config, self.told, self.origin, self.kind, self.step = config, told, origin, kind, step
        self.num_steps = num_steps
        self.settings = flatten(config)
        pictures = (run / "samples").glob(f"*{step}_samples.png")
        self.picture = next((one for one in pictures if one.stem.split("_")[0].lstrip("0") == str(step)), None)
        self.data = data_of(config)

    def text(self) -> str:
        """In Markdown, after the few lines of metadata that the hub reads."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        library = "diffusers" if self.num_steps else "lit_diffusion"
        yield from ("---", f"library_name: {library}", "pipeline_tag: unconditional-image-generation")
        yield from ("tags:", "- diffusion", "- ddpm", "- lit_diffusion", "---", "", f"# {plain(self.name)}", "")
        yield from self._what()
        if status := self.told.get("status"):
            reason = f" ({plain(self.told['reason'])})" if self.told.get("reason") else ""
            if status != "finished":
                yield from ("", f"**This run is not finished: its status is {plain(status)}{reason}.**")
        if self.picture:
            yield from ("", "![samples](samples.png)")
        yield from ("", "## Use", "", *self._use())
        yield from ("", "## Scores", "", *self._scores())
        yield from ("", "## Model", "", *self._table(self._below(MODEL)))
        title = "Recipe" if self.step or not self.origin else "Recipe with which training would go on"
        yield from ("", f"## {title}", "", *self._table(self._at(RECIPE)), "")
        yield "`config.yaml` holds every setting; `lit-diffusion import` makes a run of this folder again."
        if isinstance(versions := self.told.get("versions"), dict) and versions:
            made = ", ".join(f"{plain(name)} {plain(version)}" for name, version in versions.items())
            yield from ("", f"Made with {made}; code at commit {plain(self.told.get('git'))}.")

    def _what(self) -> Iterator[str]:
        """What kind of model it is, on what data, and whose training it is."""
        reverse = name_of(spec_of_reverse(self.config))
        weights = (
            "the exponential moving average of the weights" if self.kind == "ema" else "the raw weights, no average"
        )
        paper, library = PAPERS.get(reverse, reverse), f"lit_diffusion {__version__}"
        if not self.origin:
            yield f"A denoising diffusion model ({paper}), trained on {plain(self.data)} with {library}: {weights}"
            yield f"after {self.step:,} steps."
            return
        source, form = plain(public_name(self.origin.get("source"))), plain(self.origin.get("format"))
        since = f"trained on for {self.step:,} steps on {plain(self.data)}" if self.step else "and not trained since"
        yield f"A denoising diffusion model ({paper}), imported from {source} ({form}) by {library}, {since}:"
        yield f"{weights}."

    def _use(self) -> Iterator[str]:
        if self.num_steps is None:
            yield from ("```bash", "lit-diffusion import THIS_FOLDER -o runs/imported")
            yield from ("lightning predict -c runs/imported/config.yaml --ckpt_path last", "```")
            return
        sampler, given = spec_of(self.config["model"]["init_args"].get("sampler")) or ("AncestralSampler", {})
        steps, ddim = given.get("steps"), sampler == "DDIMSampler"
        count = len(steps) if isinstance(steps, list) else steps or self.num_steps
        pipeline = "DDIMPipeline" if ddim else "DDPMPipeline"
        eta = f", eta={given.get('eta', 0.0)}, use_clipped_model_output=True" if ddim else ""
        yield from ("```python", f"from diffusers import {pipeline}", "")
        yield f'pipeline = {pipeline}.from_pretrained("THIS_FOLDER")'
        yield f"images = pipeline(batch_size=16, num_inference_steps={count}{eta}).images"
        yield "```"

    def _scores(self) -> Iterator[str]:
        told = self.told.get("scores") or {}
        scores = {name: one for name, one in told.items() if isinstance(one, dict) and not name.startswith(TRACKED)}
        if not scores:
            yield "None yet: `lightning test -c runs/NAME/config.yaml --ckpt_path last` measures them."
            return
        for family in families(scores):
            common = set(family[0][1]["protocol"].items())
            for _, one in family[1:]:
                common &= one["protocol"].items()
            yield from ("| score | value | of its own |", "|---|---|---|")
            for name, one in family:
                own = {key: said for key, said in one["protocol"].items() if (key, said) not in common}
                yield f"| {plain(name)} | {value_of(one)} | {in_words(own)} |"
            shared = {key: said for key, said in family[0][1]["protocol"].items() if (key, said) in common}
            yield from ("", f"Protocol: {in_words(shared)}.", "")
        if any(is_of_others(one.get("protocol") or {}, self.step, self.kind) for one in scores.values()):
            yield f"What is not of step {self.step} and {self.kind} weights is not of the weights in this folder."

    def _at(self, keys: tuple[str, ...]) -> dict[str, Any]:
        return {key: self.settings[key] for key in keys if self.settings.get(key) is not None}

    def _below(self, keys: tuple[str, ...]) -> dict[str, Any]:
        return {key: value for key, value in self.settings.items() if is_within(key, keys) and value is not None}

    @staticmethod
    def _table(settings: Mapping[str, Any]) -> Iterator[str]:
        yield from ("| setting | value |", "|---|---|")
        for key, value in settings.items():
            yield f"| {plain(key)} | {plain(value)} |"


def families(scores: Mapping[str, Any]) -> Iterator[list[tuple[str, Any]]]:
    """Scores of samples, and those of the bound: what is measured in one pass shares most of its protocol."""
    told = {name: {**one, "protocol": plain_values(one.get("protocol"))} for name, one in scores.items()}
    for of_samples in (True, False):
        family = [(name, one) for name, one in told.items() if ("features" in one["protocol"]) == of_samples]
        if family:
            yield family


def is_of_others(protocol: Mapping[str, Any], step: int, kind: str) -> bool:
    """Whether a score is of other weights."""
    return protocol.get("step", step) != step or protocol.get("weights", kind) != kind


def plain_values(protocol: Any) -> dict[str, str]:
    """A protocol as text."""
    return {str(key): plain(said) for key, said in protocol.items()} if isinstance(protocol, dict) else {}


def value_of(score: Mapping[str, Any]) -> str:
    """A score's number, and its spread."""
    value, std = score.get("value"), score.get("std")
    return (
        str(Score(value, std)) if isinstance(value, int | float) and isinstance(std, int | float | None) else "diverged"
    )


def in_words(protocol: Mapping[str, str]) -> str:
    """A protocol in a line."""
    return "; ".join(f"{plain(key)}: {said}" for key, said in protocol.items())


def spec_of_reverse(config: Mapping[str, Any]) -> Any:
    """The reverse model that a configuration names."""
    return config["model"]["init_args"]["reverse"]


def public_name(source: Any) -> str:
    """A name of the hub, or the last part of a path."""
    parts = str(source).split("/")
    return (
        str(source) if len(parts) == 2 and all(parts) and parts[0] not in (".", "..", "~") else parts[-1] or parts[-2]
    )


def data_of(config: Mapping[str, Any]) -> str:
    """The data set of a configuration: its class, and the name of its folder or file."""
    data = config["data"]
    name, given = name_of_data(data), (data.get("init_args") or {}) if isinstance(data, Mapping) else {}
    where = given.get("root") if name == "ImageFolder" else given.get("file")
    return f"{name} ({Path(str(where)).name})" if where else name


def plain(value: Any) -> str:
    """A value as text of a Markdown table that marks nothing up and stays on its line; long lists cut short."""
    if isinstance(value, list) and len(value) > 20:
        value = f"{len(value)} values from {value[0]} to {value[-1]}"
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", one_line(value))
