"""Variational autoencoders from the command line: what is trained, what is scored, what interruption changes."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer

from lit_diffusion.baselines import GaussianLikelihood, HierarchicalVAE
from lit_diffusion.callbacks.predict import LatentInterpolate, LatentManifold, LatentReconstruct, Reconstruct, Samples
from lit_diffusion.data import Digits
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import HierarchicalVAEModule, VAEModule
from lit_diffusion.nn import DenseNetwork
from lit_diffusion.seeding import seed_generator
from tests.baselines.test_linear_gaussian import exact_model
from tests.conftest import TINY_VAE
from tests.training.test_training import assert_same_training

# a beta of 2 that is reached at step 4
RUN = [
    *("--model.beta=2", "--model.kl_warmup=4", "--model.importance_draws=8"),
    *("--trainer.max_steps=8", "--checkpoint.every_n_steps=5", "--trainer.val_check_interval=4"),
    *("--bits_per_dim.splits=[test]", "--bits_per_dim.at_end=true", "--grids.every_n_steps=8", "--grids.num_images=4"),
    "--ema.decay=0",
]


def test_sums_of_any_parts_on_any_devices_are_the_bound():
    """With the true posterior both bounds are log p(x), however the pairs are shared and cut into batches."""
    model, p = exact_model()
    x_0 = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    truth = -p.log_prob(x_0) / (5 * math.log(2))
    module = VAEModule(model, beta=3.0, importance_draws=6)
    ranks = [module.bound(None, 7, torch.device("cpu")) for _ in range(2)]
    for rank, bound in enumerate(ranks):
        for first in range(8 * rank, 42, 16):
            pairs = range(first, min(first + 8, 42))
            own = x_0[pairs[0] // 6 : pairs[-1] // 6 + 1]
            bound.add(own, None, pairs, seed_generator(torch.Generator(), first))
    one, other = ranks
    theirs = iter([other.log_weight, other.kl, other.reconstruction, *other.units])
    one.reduce(lambda sums: sums + next(theirs))
    scores = one.scores()
    assert scores["iw_bits_per_dim"].estimate.value == pytest.approx(truth.mean().item(), abs=1e-6)
    torch.testing.assert_close(one.log_weight, -(truth * 5 * math.log(2))[:, None].expand(7, 6), atol=1e-6, rtol=0)
    total = scores["kl"].estimate.value + scores["reconstruction"].estimate.value
    assert total == pytest.approx(scores["bits_per_dim"].estimate.value) == one.per_example().mean().item()
    assert one.units[0][0].tolist() == [7, 7]
    assert scores["active_units"].estimate.value == 2
    assert one.describe()["beta"] == 3.0 and scores["iw_bits_per_dim"].protocol["bound"] == "importance-weighted, k = 6"
    before = one.terms()
    one.add_constant(5 * math.log(2), 5)
    for name in ("total", "reconstruction", "importance-weighted"):
        assert one.terms()[name].value == pytest.approx(before[name].value + 1)


def test_the_elbo_is_the_mean_over_draws():
    """2,000 draws of one example, with an encoder that is off: between k = 1 and log p, and as in closed form."""
    model, p = exact_model()
    model.encoder.network.layers[-1].bias[2:] += 0.5
    x_0 = torch.zeros(1, 5, dtype=torch.double)
    bound = VAEModule(model, importance_draws=2000).bound(None, 1, torch.device("cpu"))
    bound.add(x_0, None, range(2000), seed_generator(torch.Generator(), 1))
    posterior = torch.exp(torch.tensor(0.5))  # the variance is so many times too large in both latents
    gap = 2 * 0.5 * (posterior - 1 - 0.5).item() / (5 * math.log(2))
    truth = -p.log_prob(x_0).item() / (5 * math.log(2))
    assert bound.scores()["bits_per_dim"].estimate.value == pytest.approx(truth + gap, abs=0.02)
    assert bound.scores()["iw_bits_per_dim"].estimate.value == pytest.approx(truth, abs=0.02)


@pytest.fixture
def vae_run(toy_run):
    return toy_run(*RUN, base=TINY_VAE)


def test_the_loss_is_reconstruction_and_weighted_kl_and_the_scores_are_bounds(vae_run):
    """beta min(step / 4, 1) in training, beta for held-out images, 1 in bits/dim."""
    rows = [row for row in csv.DictReader((vae_run / "metrics.csv").open()) if row["train/loss"]]
    for row in rows:
        weight = 2 * min(int(row["step"]) / 4, 1)
        parts = float(row["train/reconstruction"]) + weight * float(row["train/kl"])
        assert float(row["train/loss"]) == pytest.approx(parts, rel=1e-5)
    assert len(rows) == 8
    scores = json.loads((vae_run / "summary.json").read_text())["scores"]
    elbo, tighter, kl, reconstruction = (
        scores[f"{name}/test"] for name in ("bits_per_dim", "iw_bits_per_dim", "kl", "reconstruction")
    )
    assert elbo["value"] == pytest.approx(kl["value"] + reconstruction["value"])
    assert tighter["value"] < elbo["value"] and elbo["std"] > 0
    assert (elbo["protocol"]["bound"], elbo["protocol"]["beta"], elbo["protocol"]["draws"]) == ("ELBO", 2, 8)
    assert 0 <= scores["active_units/test"]["value"] <= 5
    bound = json.loads((vae_run / "bits_per_dim/test.json").read_text())
    assert {"total", "KL of layer 1", "KL of layer 2", "reconstruction", "importance-weighted"} < bound.keys()
    assert {path.name for path in (vae_run / "samples").iterdir()} == {"data.png", "00000008_samples.png"}


def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(command, vae_run, tmp_path):
    """Resumed from step 5, after the warm-up and within an epoch."""
    command("fit", *TINY_VAE, *RUN, "--run.name=resumed", f"--ckpt_path={vae_run}/checkpoints/step=5.ckpt")
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("here", "resumed")))
    of_both = [
        json.loads((tmp_path / f"runs/{name}/summary.json").read_text())["scores"] for name in ("here", "resumed")
    ]
    assert of_both[0] == of_both[1]


def predict(folder, module, *predictions, **options):
    """Runs predictions as the command does, on digits, and returns their folder."""
    data = Digits(batch_size=8)
    data.setup()
    options |= {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", default_root_dir=folder, callbacks=[*predictions], **options)
    trainer.datamodule = data
    for prediction in predictions:
        prediction.check(trainer, module)
    trainer.predict(module, datamodule=data, return_predictions=False)
    return folder / "predict", next(data.batches("test", [data.examples_of("test", 8)]))


@pytest.fixture
def module():
    torch.manual_seed(0)

    def network(i, o):
        return DenseNetwork(i, o, width=16, depth=1)

    vae = HierarchicalVAE(network, network, network, GaussianLikelihood(17), (1, 8, 8), [(4,), (2,)])
    return HierarchicalVAEModule(vae)


def test_held_out_examples_have_the_full_weight_and_their_own_randomness(module):
    """After a warm-up, whatever the step: reconstruction + beta KL for the draws that are given."""
    weighted, x_0 = HierarchicalVAEModule(module.vae, beta=0.5, kl_warmup=1000).eval(), torch.zeros(3, 1, 8, 8)
    randomness = weighted.draw_randomness(torch.empty(6, 1, 8, 8))
    bound = module.vae.bound(x_0, [part[1:6:2] for part in randomness])
    expected = (bound.reconstruction_nll + 0.5 * bound.kl.sum(1)) / (64 * math.log(2))
    torch.testing.assert_close(weighted.loss(x_0, None, [part[1:6:2] for part in randomness]), expected)


class Weights(Callback):
    """Notes the weight of the KL terms of every training batch."""

    seen: list[float] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(pl_module.kl_weight)


def test_the_warm_up_of_the_kl_terms_counts_steps(command):
    """Not batches, of which two make a step here: beta 2 is reached after four steps."""
    Weights.seen.clear()
    noting = "--trainer.callbacks=tests.modules.test_vae_module.Weights"
    short = ["--trainer.max_steps=5", "--trainer.accumulate_grad_batches=2", "--bits_per_dim.splits=[]", noting]
    command("fit", *TINY_VAE, *RUN[:2], *short, "--run.name=x")
    assert Weights.seen == [0, 0, 0.5, 0.5, 1, 1, 1.5, 1.5, 2, 2]


def test_predictions_go_through_the_means_of_the_latents(module, tmp_path):
    """Reconstructions of each layer, paths between them, and the plane of two latents, as the model makes them."""
    predictions = LatentReconstruct(), LatentInterpolate(2, 3, layer=2), LatentManifold(5)
    folder, x_0 = predict(tmp_path, module, *predictions)
    vae = module.vae.eval()
    back = [vae.reconstruct(x_0, layer).clamp(-1, 1) for layer in (1, 2)]
    arrays = np.load(folder / "reconstruct.npz")
    for layer in (0, 1):
        np.testing.assert_allclose(arrays["reconstructions"][layer][..., 0], back[layer][:, 0].detach(), atol=1e-6)
    rmse = list(csv.DictReader((folder / "reconstruct.csv").open()))
    expected = 127.5 * (back[1] - x_0).square().mean().sqrt().item()
    assert float(rmse[1]["rmse"]) == pytest.approx(expected, rel=1e-5)
    paths = np.load(folder / "interpolate.npz")["images"]
    ends = torch.from_numpy(np.load(folder / "interpolate.npz")["originals"]).movedim(-1, -3).flatten(0, 1)
    means = vae.latent_means(ends)[1]
    middle = vae.decode_from(2, (means[0::2] + means[1::2]) / 2).clamp(-1, 1)
    rebuilt = vae.reconstruct(ends, 2).clamp(-1, 1)[:, 0].detach()
    np.testing.assert_allclose(paths[..., 0][:, [0, 2]].reshape(4, 8, 8), rebuilt, atol=1e-6)
    np.testing.assert_allclose(paths[:, 1, :, :, 0], middle[:, 0].detach(), atol=1e-6)
    plane = np.load(folder / "manifold.npz")
    z = torch.from_numpy(plane["latents"])
    np.testing.assert_allclose(z[2, 2], 0, atol=1e-6)
    np.testing.assert_allclose(torch.special.ndtr(z[2, :, 1]), [0.1, 0.3, 0.5, 0.7, 0.9], atol=1e-6)
    np.testing.assert_allclose(torch.special.ndtr(z[:, 2, 0]), [0.9, 0.7, 0.5, 0.3, 0.1], atol=1e-6)
    corner = vae.decode_from(2, z[:1, 4]).clamp(-1, 1)
    np.testing.assert_allclose(plane["images"][0, 4, :, :, 0], corner[0, 0].detach(), atol=1e-6)


@pytest.mark.slow
def test_two_processes_draw_the_samples_of_one(module, tmp_path):
    """Byte for byte, with the last block on either of them."""
    one, _ = predict(tmp_path / "one", module, Samples(20, 8))
    two, _ = predict(tmp_path / "two", module, Samples(20, 8), devices=2, strategy="ddp_fork")
    assert (one / "samples.npz").read_bytes() == (two / "samples.npz").read_bytes()


def test_predictions_of_diffusion_models_name_the_one_to_use(module, tmp_path):
    with pytest.raises(ConfigError, match="got HierarchicalVAEModule; use Samples, or LatentReconstruct"):
        predict(tmp_path, module, Reconstruct())


def test_paths_between_draws_need_no_images(module, tmp_path):
    folder, _ = predict(tmp_path, module, LatentInterpolate(2, 3, source="prior"))
    arrays = np.load(folder / "interpolate.npz")
    assert arrays["images"].shape == (2, 3, 8, 8, 1) and "originals" not in arrays


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda m: LatentInterpolate(layer=3), "layer: expected 1 to 2, the number of the model's layers, got 3"),
        (lambda m: LatentInterpolate(source="prior", layer=2), "leave out layer"),
        (lambda m: setattr(m.vae, "latent_shapes", [(4,), (3,)]) or LatentManifold(), r"two latents, got shape \[3\]"),
        (lambda m: HierarchicalVAEModule(m.vae, beta=-1.0), "beta: expected 0 or more, got -1; use 1"),
        (lambda m: HierarchicalVAEModule(m.vae, importance_draws=0), "importance_draws: expected 1 or more"),
    ],
)
def test_a_mistake_is_one_line(make, message, module, tmp_path):
    with pytest.raises(ConfigError, match=message):
        predict(tmp_path, module, make(module))


@pytest.mark.parametrize(
    "option, message",
    [
        ("--model.sampler=AncestralSampler", "model.sampler: no such setting"),
        ("--model.objective=Simple", "model.objective: no such setting; use one of vae, beta, kl_warmup"),
        (
            "--grids.sampler=DDIMSampler",
            "grids.sampler: expected null, since HierarchicalVAEModule draws samples without",
        ),
        ("--model.vae.shape=[1,9,9]", r"model.vae.shape: expected the data's shape \[1, 8, 8\], got \[1, 9, 9\]; set"),
        ("--model.vae.latent_shapes=[[0]]", "model.vae.latent_shapes: expected one or more positive numbers"),
        (
            "--model.vae.likelihood=BernoulliLikelihood",
            "model.vae.likelihood: expected 17 levels, .* use Gaussian",
        ),
        ("--model.vae.encoder.width=0", "model.vae.encoder: DenseNetwork.width: expected 1 or more, got 0"),
    ],
)
def test_a_mistake_on_the_command_line_names_its_setting(option, message, command, tmp_path):
    grids = "--grids.every_n_steps=1"  # which a sampler of theirs would be used for
    with pytest.raises(ConfigError, match=message):
        command("fit", *TINY_VAE, grids, option)
    assert not list(tmp_path.glob("runs/*"))
