"""Training a GAN: Goodfellow's algorithm, the same bits after a resume, the same numbers on any number of processes."""

import csv
import json
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader

from lit_diffusion.baselines import Hinge, NonSaturating
from lit_diffusion.data import Digits
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import GANModule
from lit_diffusion.nn import ConvDiscriminator, ConvGenerator, DenseNetwork, UNet
from lit_diffusion.seeding import derive_seed, seed_generator, seed_step
from tests.conftest import TINY_GAN
from tests.processes import Process
from tests.training.test_training import assert_same_training

ADVERSE = ["--model.discriminator_steps=2", "--model.r1=0.5", "--trainer.max_steps=12", "--checkpoint.every_n_steps=6"]
RUN = [*ADVERSE, "--trainer.val_check_interval=6"]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp_fork"]


def small(loss=NonSaturating(), **options) -> GANModule:
    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def generator(i, o):
        return ConvGenerator(i, o, width=4, levels=2, groups=2)

    def discriminator(i, o):
        return ConvDiscriminator(i, o, width=4, levels=2)

    torch.manual_seed(0)
    return GANModule(generator, discriminator, (1, 8, 8), 3, loss, **{"optimizer": sgd, **options})


def fit(module: GANModule, batches: torch.Tensor) -> Trainer:
    """A step for each batch."""
    quiet = {"logger": False, "enable_checkpointing": False, "barebones": True}
    trainer = Trainer(max_steps=len(batches), accelerator="cpu", **quiet)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return trainer


@pytest.mark.parametrize("loss", [NonSaturating(), Hinge()], ids=lambda loss: type(loss).__name__)
def test_a_step_is_goodfellows_algorithm(loss):
    """The discriminator descends once on each part of the batch, its penalty included, then the generator once on as
    many samples, by backward() and all gradients at once.
    """
    module, by_hand = small(loss, discriminator_steps=3, r1=2.0), small(loss)
    batches = torch.rand(2, 12, 1, 8, 8) * 2 - 1
    trainer = fit(module, batches)
    g, d = by_hand.generator, by_hand.discriminator
    of_g, of_d = by_hand.build_optimizers()
    for step, batch in enumerate(batches):
        seed_step(derive_seed(0, "train", step, 0), torch.device("cpu"))
        for real in batch.split(4):
            real.requires_grad_()
            generated = g(torch.randn(4, 3)).detach()
            h = d(torch.cat([real, generated]))[:, 0]
            (slope,) = torch.autograd.grad(h[:4].sum(), real, create_graph=True)
            of_d.zero_grad()
            penalty = 2.0 / 2 * slope.square().sum((1, 2, 3)).mean()
            (loss.of_real(h[:4]).mean() + loss.of_generated(h[4:]).mean() + penalty).backward()
            of_d.step()
        of_g.zero_grad()
        loss.of_generator(d(g(torch.randn(4, 3)))[:, 0]).mean().backward()
        of_g.step()
    assert trainer.global_step == 2
    for network, expected in ((module.generator, g), (module.discriminator, d)):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, expected.state_dict()[name], msg=name)


def test_a_fused_optimizer_is_right_whatever_the_layout_of_gradients():
    """Autograd returns gradients in other orders of memory than the parameters', which fused steps assume."""

    def train(fused: bool, layout: torch.memory_format) -> GANModule:
        module = small(Hinge(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1, fused=fused))
        module.discriminator.to(memory_format=layout)
        fit(module, torch.linspace(-1, 1, 12 * 64).view(1, 12, 1, 8, 8))
        return module

    one, other = train(False, torch.contiguous_format), train(True, torch.channels_last)
    for (name, value), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, expected, msg=name)


def test_gradients_and_measurements_are_means_over_ranks():
    """Here over this rank and one whose numbers are all 1."""
    module = small()
    parameters = [*module.generator.parameters()]
    loss = sum((p**2).sum() for p in parameters)
    reduce = {"mean": lambda flat: (flat + 1) / 2}
    strategy = SimpleNamespace(reduce=lambda flat, reduce_op: reduce[reduce_op](flat))
    module._trainer = SimpleNamespace(world_size=2, strategy=strategy)
    (found,) = module._leave_gradients(module.generator, loss, [torch.tensor(3.0)])
    assert found.item() == 2
    for parameter in parameters:
        torch.testing.assert_close(parameter.grad, (2 * parameter.detach() + 1) / 2)


def test_a_resumed_run_equals_an_unbroken_one(command, toy_run, tmp_path):
    """Both networks, both optimizers, the vectors of spectral normalisation, the running averages, what was logged."""
    run = toy_run(*RUN, base=TINY_GAN)
    toy_run(*RUN, base=TINY_GAN, name="whole")
    for name in ("last.ckpt", "step=12.ckpt"):
        (run / "checkpoints" / name).unlink()
    command("fit", *TINY_GAN, *RUN, "--run.name=here", "--ckpt_path=last")
    assert_same_training(*(tmp_path / f"runs/{name}/checkpoints/last.ckpt" for name in ("here", "whole")))
    one, other = (
        [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(path.open())]
        for path in (tmp_path / f"runs/{name}/metrics.csv" for name in ("here", "whole"))
    )
    assert one == other
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert [len(state["state"]) for state in saved["optimizer_states"]] == [9, 8]  # both have been trained
    assert any(name.endswith("._u") for name in saved["current_model_state"])
    assert saved["current_model_state"]["collapse.averages"].isfinite().all()
    assert not (run / "checkpoints/best.ckpt").exists()  # losses rank no steps


def test_the_held_out_loss_is_that_of_the_averaged_networks_on_the_test_images(toy_run, parse):
    """Computed again, with the noise of each batch; validation has not moved the vectors of spectral normalisation."""
    run = toy_run(*RUN, base=TINY_GAN)
    module, data = parse(*TINY_GAN, *RUN).model, Digits(batch_size=32)
    module.load_state_dict(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    data.setup("fit")
    count, size = data.sizes["test"], data.eval_batch_size
    batches = [torch.arange(first, min(first + size, count)) for first in range(0, count, size)]
    losses, right = [], []
    with torch.no_grad():
        module.eval()
        for i, real in enumerate(data.batches("test", batches)):
            seeded = seed_generator(torch.Generator(), derive_seed(0, "evaluate", i))
            generated = module.generator(torch.randn(size, 4, generator=seeded)[: len(real)])
            h, h_generated = module.discriminator(real)[:, 0], module.discriminator(generated)[:, 0]
            losses.append((1 - h).clamp(min=0) + (1 + h_generated).clamp(min=0))
            right.append(h_generated < 0)
    *_, last = (row for row in csv.DictReader((run / "metrics.csv").open()) if row["val/loss"])
    assert float(last["val/loss"]) == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    assert float(last["val/accuracy_generated"]) == pytest.approx(torch.cat(right).float().mean().item(), rel=1e-5)


class Agreeing(Callback):
    """Fails unless both ranks hold the same weights and state, after different images and noise."""

    def on_train_end(self, trainer, pl_module):
        for name, value in pl_module.state_dict().items():
            both = pl_module.all_gather(value)
            assert torch.equal(both[0], both[1]), name


def test_two_processes_agree_and_draw_the_samples_of_one(toy_run, tmp_path):
    """In training on the weights; in `predict` on every byte; in `validate` on the loss."""
    run = toy_run(*RUN, base=TINY_GAN)
    agreeing = '--trainer.callbacks+={"class_path": "tests.modules.test_gan.Agreeing"}'
    saved = ["-c", "runs/here/config.yaml", "--ckpt_path=runs/here/checkpoints/last.ckpt"]
    drawn = ["predict", *saved, "--prediction.num_samples=25", "--prediction.batch_size=4"]
    processes = {
        "fit": Process(["fit", *TINY_GAN, *RUN, *TWO, agreeing, "--run.name=two"], tmp_path),
        "one": Process([*drawn, "--run.name=one"], tmp_path),
        "both": Process([*drawn, *TWO, "--run.name=both"], tmp_path),
        "validate": Process(["validate", *saved, *TWO], tmp_path),
    }
    said = {}
    for name, process in processes.items():
        said[name], _ = process.communicate(600)  # 4 s on idle cores, minutes on busy ones
        assert process.returncode == 0, said[name]
    *_, last = (row["val/loss"] for row in csv.DictReader((run / "metrics.csv").open()) if row["val/loss"])
    assert f"val/loss            {float(last):.6f}" in said["validate"]
    one, both = (tmp_path / f"runs/{name}/predict" for name in ("one", "both"))
    files = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    assert len(files) == 25 + 3
    for file in files:
        assert (one / file).read_bytes() == (both / file).read_bytes(), file


def test_a_discriminator_that_wins_ends_the_run_as_diverged(command, tmp_path, capsys):
    """A generator that never learns: reported with the reason, not hidden, and without scores."""
    lost = ["--model.optimizer.lr=0", "--model.discriminator.spectral_norm=false", "--model.collapse.patience=5"]
    free = '--model.discriminator_optimizer={"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}}'
    scored = [
        "--scores.num_samples=20",
        "--trainer.max_steps=1000",
        "--run.name=here",
        "--divergence.every_n_steps=10",
        "--model.collapse.lost=0.5",
    ]
    command("fit", *TINY_GAN, *lost, free, *scored)
    summary = json.loads((tmp_path / "runs/here/summary.json").read_text())
    assert (summary["status"], summary["scores"]) == ("diverged", {}) and summary["step"] < 500
    assert summary["reason"].startswith("the discriminator has won outright for ")
    assert f"diverged: {summary['reason']}" in capsys.readouterr().out


BAD = {
    "--bits_per_dim={splits: [test], at_end: true}": "bits_per_dim.splits: expected .., since GANModule has no",
    "--scores.track_sampler=AncestralSampler": "scores.track_sampler: expected null, since GANModule draws .* without",
    "--model.objective=Simple": "model.objective: no such setting; use one of generator, discriminator, ",
    "--model.loss=Simple": "model.loss: no class Simple; use one of Hinge, NonSaturating",
}


@pytest.mark.parametrize("option", BAD)
def test_what_belongs_to_diffusion_is_refused_in_one_line(option, command, tmp_path):
    """Likelihoods, samplers, objectives."""
    with pytest.raises(ConfigError, match=BAD[option]) as caught:
        command("fit", *TINY_GAN, "--trainer.max_steps=1", "--scores.num_samples=40", option)
    assert "\n" not in str(caught.value) and not [*(tmp_path / "runs").glob("*")]


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        ("trainer.accumulate_grad_batches", {"accumulate_grad_batches": 2}, "expected 1, since a GAN's step takes one"),
        ("trainer.gradient_clip_val", {"gradient_clip_val": 1.0}, "expected null, since a GAN's gradients are not"),
        ("trainer.precision", {"precision": "16-mixed"}, "expected a precision without scaled gradients, got 16-mixed"),
        ("data.batch_size", {"world_size": 4}, "expected a multiple of 12 .*, got 32; use 36"),
    ],
)
def test_trainers_that_cannot_train_two_networks_are_refused(key, options, message):
    given = {"accumulate_grad_batches": 1, "gradient_clip_val": None, "precision": "32-true", "world_size": 1}
    module = small(discriminator_steps=3)
    with pytest.raises(ConfigError, match=message) as caught:
        module.check_trainer(SimpleNamespace(**{**given, **options}), 32)
    assert caught.value.key == key
    module.check_trainer(SimpleNamespace(**given), 33)
    module.discriminator_optimizer = torch.optim.LBFGS
    with pytest.raises(ConfigError, match="got LBFGS; use Adam") as caught:
        module.check_trainer(SimpleNamespace(**given), 33)
    assert caught.value.key == "model.discriminator_optimizer"


def test_settings_of_a_gan_are_refused_by_name():
    for options, message in (
        ({"r1": -1.0}, "^r1: expected 0 or more, got -1"),
        ({"discriminator_steps": 0}, "^discriminator_steps: expected 1 or more, got 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            small(**options)
    with pytest.raises(ConfigError, match="expected a network that is built from two shapes"):
        GANModule(UNet, DenseNetwork, (2,))
    with pytest.raises(ConfigError, match=r"expected \[1, 28, 28\], the shape of the data's examples, got \[1, 8, 8\]"):
        small().check((1, 28, 28), 256, None)


def test_points_are_drawn_by_dense_networks_of_both_kinds():
    """Of any shape; what spectral normalisation would divide is the layer itself."""
    module = GANModule(DenseNetwork, DenseNetwork, (2,), latent_size=5)
    assert not any(parametrize.is_parametrized(m) for m in module.modules())
    x = module.draw((7, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(x, module.generator(torch.randn(7, 5, generator=torch.Generator().manual_seed(0))))
    assert module.describe_samples() == {"nfe": 1, "latent_size": 5}
