"""Summaries of runs that never were."""

import json
import os

from lit_diffusion.table.command import main

SETTINGS = {
    "seed_everything": 0,
    "model": "DiffusionModule",
    "model.reverse.process.schedule": "LinearSchedule",
    "model.reverse.process.schedule.num_steps": 1000,
    "model.reverse.parameterization": "Epsilon",
    "model.reverse.variance": "BetaVariance",
    "model.objective": "Simple",
    "model.objective.weighting": "Constant",
    "model.sampler": "AncestralSampler",
    "model.sampler.steps": None,
    "data": "Digits",
    "trainer.max_steps": 2000,
}
IMAGES = {
    "sampler": "AncestralSampler",
    "steps": None,
    "nfe": 1000,
    "weights": "ema",
    "seed": 0,
    "step": 2000,
    "protocol": "TorchFidelity",
    "quantisation": "8 bits",
    "samples": 1000,
    "features": "digits-classifier",
}
AGAINST = {**IMAGES, "reference": "Digits:train, 1500 images"}
PROTOCOLS = {
    "fid": AGAINST,
    "inception_score": {**IMAGES, "splits": 10, "spread": "standard deviation over splits"},
    "bits_per_dim/test": {"spread": "standard error", "split": "test", "images": 297, "terms": 20, "T": 1000},
    "bits_per_dim/train": {"spread": "standard error", "split": "train", "images": 1500, "terms": 20, "T": 1000},
}


def score(name, value, std=None, **protocol):
    """An entry of a summary's scores."""
    return {"value": value, "std": std, "protocol": {**PROTOCOLS.get(name, {}), **protocol}}


def summary(seed=0, status="finished", settings=None, scores=None, **more):
    """A summary; settings: those that differ, scores: entries or bare values."""
    entries = {name: one if isinstance(one, dict) else score(name, one) for name, one in (scores or {}).items()}
    own = {**SETTINGS, "seed_everything": seed, **(settings or {})}
    return {"schema": 1, "status": status, "step": 2000, "seed": seed, "scores": entries, "settings": own, **more}


def put(folder, content, time=None):
    """Writes a summary, or anything else, as that of a run's folder."""
    folder.mkdir(parents=True)
    path = folder / "summary.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    if time is not None:
        os.utime(path, (time, time))
    return path


def layout(folder, text):
    """A layout's file."""
    path = folder / "layout.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def printed(capsys, *arguments):
    """What the command prints: its output, its warnings."""
    main([str(argument) for argument in arguments])
    return capsys.readouterr()


def rows(text):
    """The rows of a table in Markdown, without heads, as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
