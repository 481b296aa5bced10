"""Bits/dim through the trainer: closed forms, ranks, bad input, and the files that it leaves."""

import csv
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from scipy.stats import norm
from torch import nn

from lit_diffusion.callbacks.bits_per_dim import BitsPerDim
from lit_diffusion.callbacks.run_summary import RunSummary
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.diffusion import (
    AncestralSampler,
    CleanImage,
    DiscretizedGaussian,
    GaussianProcess,
    GaussianReverse,
    JSDSchedule,
    LinearSchedule,
    Simple,
)
from lit_diffusion.diffusion.bound import bound_term, prior_kl
from lit_diffusion.diffusion.bound_estimate import cut_strata
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules.diffusion import DiffusionModule

T, LEVELS = 6, 9


class Images(ImageData):
    """Images of one pixel: `train` and `test` are their levels."""

    image_shape, num_levels = (1, 1, 1), LEVELS

    def __init__(self, train: list[int], test: list[int]):
        super().__init__(batch_size=len(train), eval_batch_size=1000)
        self.levels = {"train": train, "test": test}

    def read(self):
        return {
            split: MemoryStore(torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1))
            for split, levels in self.levels.items()
        }


class Linear(nn.Module):
    """Says that x_0 is 0.7 x_t + 0.02 t."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.7))

    def forward(self, x, index):
        return self.factor * x + 0.02 * (index + 1).view(-1, 1, 1, 1)


def model(schedule=None) -> DiffusionModule:
    """A model of T steps."""
    process = GaussianProcess(LinearSchedule(T, 0.02, 0.5) if schedule is None else schedule)
    decoder = DiscretizedGaussian(LEVELS)
    reverse = GaussianReverse(process, Linear, CleanImage(), decoder=decoder, channels=1)
    return DiffusionModule(reverse, Simple(), AncestralSampler())


def trainer_with(path, *callbacks, **settings) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "barebones": False}
    return Trainer(
        accelerator="cpu",
        default_root_dir=path,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        **quiet,
        **settings,
    )


def scored(path, data, callback, module=None, command="test"):
    """The scores of `lightning test`, or of another command."""
    found, evaluate = {}, callback.evaluate
    callback.evaluate = lambda *arguments: found.update(evaluate(*arguments)) or found
    getattr(trainer_with(path, callback), command)(module or model(), datamodule=data, verbose=False)
    return found


def expected_of(reverse, level):
    """Bits/dim of L_T and of each term, and squared errors of x_0, for a pixel: over 20,000 quantiles of the noise."""
    eps = torch.tensor(norm.ppf((np.arange(20_000) + 0.5) / 20_000)).view(-1, 1, 1, 1)
    x_0 = torch.full_like(eps, 2 * level / (LEVELS - 1) - 1)
    terms, squares = [], []
    with torch.no_grad():
        for step in range(1, T + 1):
            t = torch.full((len(eps),), step)
            prediction = reverse.predict(reverse.process.marginal(x_0, t).rsample(eps), t, clip=True)
            terms.append(bound_term(prediction, x_0).mean().item() / math.log(2))
            squares.append(((prediction.x_0 - x_0) ** 2).mean().item())
    return prior_kl(reverse, x_0)[0].item() / math.log(2), np.array(terms), np.array(squares)


@pytest.mark.parametrize("terms", [None, 3])
def test_the_bound_its_terms_rate_and_distortion_are_their_expectations(terms, tmp_path):
    """2,000 copies of one image, whose spread is that of the draws; within 4.5 standard errors, these below 3%."""
    module = model()
    scores = scored(tmp_path, Images([4], [2] * 2000), BitsPerDim(terms=terms, splits=["test"]), module)
    prior, each, squares = expected_of(module.reverse, 2)
    figures = json.loads((tmp_path / "bits_per_dim/test.json").read_text())
    truth = {"total": prior + each.sum(), "L_1..T-1": each[1:].sum(), "L_0": each[0], "rate": prior + each[1:].sum()}
    truth["rmse"] = 127.5 * math.sqrt(squares[0])
    for name, true in truth.items():
        value, error = figures[name]["value"], figures[name]["standard_error"]
        assert abs(value - true) <= 4.5 * error < 4.5 * 0.03 * true
    assert figures["L_T"]["value"] == pytest.approx(prior, rel=1e-5)
    score = scores["bits_per_dim/test"]
    assert (score.value, score.std) == tuple(figures["total"].values())
    rows = list(csv.DictReader((tmp_path / "bits_per_dim/test.csv").open()))
    assert [int(row["first"]) for row in rows] == cut_strata(module.reverse.process.schedule, terms).tolist()[:-1]
    for row in rows:
        part = slice(int(row["first"]) - 1, int(row["last"]))
        rates = [prior + each[t:].sum() for t in range(1, T + 1)][part]
        assert abs(float(row["terms"]) - each[part].sum()) <= 4.5 * float(row["terms_error"])
        rmse = 127.5 * math.sqrt(squares[part].mean())
        assert abs(float(row["rmse"]) - rmse) <= 4.5 * float(row["rmse_error"])
        assert float(row["rate"]) == pytest.approx(np.mean(rates), rel=0.08) and row["count"] == "2000"


@pytest.mark.parametrize("ranks", [2, 3, 7])
@pytest.mark.parametrize("batch_size", [4, 1000])
def test_sums_of_all_ranks_are_those_of_one(ranks, batch_size, monkeypatch):
    """Every batch is drawn once, with the same numbers, wherever it is drawn; some ranks may have none."""
    data, module, callback = Images([1], [0, 3, 5, 8, 8]), model().eval(), BitsPerDim(batch_size=batch_size)
    data.setup()

    def sums(rank, world_size):
        trainer = SimpleNamespace(datamodule=data, global_rank=rank, world_size=world_size)
        bound = module.bound(3, 5, torch.device("cpu"))
        callback.add_split(trainer, module, "test", bound, advance.append)
        return bound.sums

    advance: list[int] = []
    whole = sums(0, 1)
    assert sum(advance) == 15 and (whole.strata[:, 0] == 5).all()
    parts = [sums(rank, ranks) for rank in range(ranks)]
    for name in ("images", "strata"):
        torch.testing.assert_close(sum(getattr(part, name) for part in parts), getattr(whole, name), rtol=1e-12, atol=0)
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    assert not torch.equal(sums(0, 1).strata, whole.strata)


def test_scores_carry_their_protocol_and_splits_have_draws_of_their_own(tmp_path):
    """Equal images in both splits get different noise."""
    scores = scored(tmp_path, Images([3] * 6, [3] * 6), BitsPerDim(terms=3))
    assert list(scores) == ["bits_per_dim/test", "bits_per_dim/train"]
    test, train = scores.values()
    assert test.value != train.value and test.std > 0
    assert train.protocol == {
        "spread": "standard error",
        "unit": "bits/dim",
        "split": "train",
        "images": 6,
        "terms": 3,
        "T": T,
        "levels": LEVELS,
        "variance": "BetaVariance",
        "clip_x_0": True,
        "weights": "raw",
        "seed": 0,
        "step": 0,
    }


@pytest.mark.parametrize("terms", [6, 7, None])
def test_as_many_terms_as_steps_or_more_are_all(terms, tmp_path):
    """And the protocol says so."""
    score = scored(tmp_path, Images([1], [2, 3]), BitsPerDim(terms=terms))["bits_per_dim/test"]
    reference = scored(tmp_path, Images([1], [2, 3]), BitsPerDim())["bits_per_dim/test"]
    assert score == reference and score.protocol["terms"] == "all"


def test_a_data_set_of_one_image_and_an_empty_split_are_scored_as_far_as_they_can(tmp_path):
    """Fewer images than terms; no standard error from one; no score of none."""
    scores = scored(tmp_path, Images([4], []), BitsPerDim(terms=5))
    assert list(scores) == ["bits_per_dim/train"]
    score = scores["bits_per_dim/train"]
    assert math.isfinite(score.value) and score.std is None
    figures = json.loads((tmp_path / "bits_per_dim/train.json").read_text())
    assert figures["total"]["standard_error"] is None and not (tmp_path / "bits_per_dim/test.json").exists()
    assert Image.open(tmp_path / "bits_per_dim/train.png").size > (500, 300)


@pytest.mark.parametrize("what", ["weights", "schedule"])
def test_a_bound_that_is_not_a_number_is_not_a_score(what, tmp_path):
    """A network that says NaN; beta_1 = 0, with which the bound is infinite. Files are still those that parse."""
    module = model(LinearSchedule(T, 0.0, 0.5) if what == "schedule" else None)
    if what == "weights":
        nn.init.constant_(module.reverse.network.factor, math.nan)
    score = scored(tmp_path, Images([1], [2, 3]), BitsPerDim(splits=["test"]), module)["bits_per_dim/test"]
    assert score.value is None and score.std is None and str(score) == "diverged"
    figures = json.loads((tmp_path / "bits_per_dim/test.json").read_text(), parse_constant=pytest.fail)
    assert figures["total"] == {"value": None, "standard_error": None} and figures["L_T"]["value"] > 0
    rows = list(csv.DictReader((tmp_path / "bits_per_dim/test.csv").open()))
    assert len(rows) == T and rows[1]["terms"] == "" and rows[1]["terms_error"] == ""
    assert (tmp_path / "bits_per_dim/test.png").exists()


@pytest.mark.parametrize("schedule", [JSDSchedule(T), LinearSchedule(1, 0.9, 0.9)], ids=["no signal left", "T = 1"])
def test_schedules_at_their_limits_are_scored(schedule, tmp_path):
    """beta_T = 1, and a chain of one step."""
    score = scored(tmp_path, Images([1], [2, 3, 8]), BitsPerDim(terms=2), model(schedule))["bits_per_dim/test"]
    assert 0 < score.value < 100 and 0 < score.std < 100


def test_validate_scores_but_writes_nothing(tmp_path):
    """A look at a checkpoint changes no run folder."""
    assert scored(tmp_path, Images([1], [2, 3]), BitsPerDim(), command="validate")["bits_per_dim/test"].value > 0
    assert not (tmp_path / "bits_per_dim").exists()


def test_a_fit_scores_on_the_way_and_at_its_end_and_is_not_disturbed(tmp_path):
    """The same weights come out; the summary has the last scores; torch's global generator does not move."""

    def weights(folder, *callbacks):
        module = model()
        trainer_with(folder, *callbacks, max_steps=4).fit(module, datamodule=Images([1, 5, 7], [2, 3]))
        return module.reverse.network.factor.detach()

    callback, steps = BitsPerDim(every_n_steps=2, at_end=True, terms=4), []
    evaluate = callback.evaluate

    def watched(trainer, pl_module, final):
        before = torch.get_rng_state()
        scores = evaluate(trainer, pl_module, final)
        assert torch.equal(torch.get_rng_state(), before)
        steps.append((scores["bits_per_dim/test"].protocol["step"], final))
        return scores

    callback.evaluate = watched
    assert torch.equal(weights(tmp_path / "with", callback, RunSummary()), weights(tmp_path / "without"))
    assert steps == [(2, False), (4, True)]
    summary = json.loads((tmp_path / "with/summary.json").read_text())
    figures = json.loads((tmp_path / "with/bits_per_dim/train.json").read_text())
    score = summary["scores"]["bits_per_dim/train"]
    assert score["value"] == figures["total"]["value"] and score["protocol"] == figures["protocol"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"terms": 1}, "terms: expected 2 or more .*; got 1"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, got 0"),
        ({"splits": ["test", "val"]}, "splits: expected train or test, got 'val'"),
        ({"every_n_steps": -1}, "every_n_steps: expected 0 .never. or more, got -1"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused_with_what_to_write(arguments, message):
    """At construction."""
    with pytest.raises(ConfigError, match=message):
        BitsPerDim(**arguments)


def test_splits_without_images_are_refused_before_anything_starts():
    """No score at all would pass for one that has not been asked for; no splits is how to ask for none."""
    data = Images([1], [])
    data.setup()
    trainer = SimpleNamespace(datamodule=data)
    BitsPerDim().check(trainer, model())
    with pytest.raises(ConfigError, match="splits: the data have no images in test; use"):
        BitsPerDim(splits=["test"]).check(trainer, model())
    assert not BitsPerDim(splits=[]).runs_in("test") and BitsPerDim().runs_in("test")
