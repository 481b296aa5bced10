"""How a generator and a discriminator are trained against each other."""

from collections.abc import Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.optimizer import Optimizer

from lit_diffusion.baselines.collapse import Collapse, spread_of
from lit_diffusion.baselines.gan_loss import AdversarialLoss, NonSaturating, squared_gradient
from lit_diffusion.baselines.shaped_network import ShapedNetwork, build_network, read_shape
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.modules.generative import Batch, DrawsAtOnce, split_labels
from lit_diffusion.seeding import derive_seed, seed_generator, seed_step


class GANModule(DrawsAtOnce):
    """Trains a generator and a discriminator on an adversarial loss  (Goodfellow et al. 2014, algorithm 1).

    A step takes one batch, in `discriminator_steps` equal parts: with each of them the discriminator is updated once,
    then the generator once, with as many samples as a part has. All randomness of a step is a function of (seed, step,
    rank), and the state of spectral normalisation is in the checkpoint, so that a resumed run equals an unbroken one.

    Logged, of the last part: `train/loss`, the discriminator's; `train/generator_loss`; the discriminator's
    `train/accuracy_real` and `train/accuracy_generated`; `train/jensen_shannon`, a running estimate of the JS(p_data,
    p_g) that the discriminator has found, in nats. And of held-out examples all but the generator's loss, as `val/loss`
    etc. None of them is a likelihood, or says how good samples are: a GAN has no best step by its loss.

    shape: of the examples, [C, H, W] or [D]. latent_size: of the noise z ~ N(0, I).
    generator, discriminator: of z to examples, and of examples to one number, positive for real ones; each is called
        once with the shapes of its input and its output.
    loss: what the two minimise. r1: weight of the penalty R1 on the discriminator's gradient at real examples.
    optimizer: called with the parameters of the generator; discriminator_optimizer: with those of the discriminator, by
        default the same as the generator's.
    collapse: when training has failed.
    """

    held_out: Tensor  # sums over examples: of the three of `_measure`, and their number
    automatic_optimization = False
    loss_ranks_steps = False

    def __init__(
        self,
        generator: ShapedNetwork,
        discriminator: ShapedNetwork,
        shape: Sequence[int],
        latent_size: int = 128,
        loss: AdversarialLoss = NonSaturating(),
        discriminator_steps: int = 1,
        r1: float = 0.0,
        optimizer: OptimizerCallable = Adam,
        discriminator_optimizer: OptimizerCallable | None = None,
        collapse: Collapse | None = None,
    ):
        super().__init__()
        check_at_least(1, latent_size=latent_size, discriminator_steps=discriminator_steps)
        if not r1 >= 0:
            raise ConfigError(f"r1: expected 0 or more, got {r1:g}")
        self.shape, self.latent_size = read_shape("shape", tuple(shape)), latent_size
        self.generator = build_network(generator, (latent_size,), self.shape, "model.generator")
        self.discriminator = build_network(discriminator, self.shape, (1,), "model.discriminator")
        self.loss, self.discriminator_steps, self.r1 = loss, discriminator_steps, r1
        self.optimizer, self.discriminator_optimizer = optimizer, discriminator_optimizer or optimizer
        self.collapse = Collapse() if collapse is None else collapse

    @property
    def networks(self) -> list[nn.Module]:
        # torch.compile does not differentiate twice, as R1 does
        return [self.generator] if self.r1 else [self.generator, self.discriminator]

    def network_batches(self, batch_size: int) -> set[int]:
        part = batch_size // self.discriminator_steps
        return {part, 2 * part}

    @property
    def failure(self) -> str | None:
        return self.collapse.reason

    def check(self, image_shape: tuple[int, ...], num_levels: int | None, num_classes: int | None) -> None:
        if self.shape != tuple(image_shape):
            raise ConfigError(
                f"expected {list(image_shape)}, the shape of the data's examples, got {list(self.shape)}",
                key="model.shape",
            )

    def check_trainer(self, trainer: Trainer, batch_size: int) -> None:
        if trainer.accumulate_grad_batches > 1:
            raise ConfigError(
                f"expected 1, since a GAN's step takes one batch, got {trainer.accumulate_grad_batches}; use a larger "
                "data.batch_size",
                key="trainer.accumulate_grad_batches",
            )
        if trainer.gradient_clip_val:
            raise ConfigError(
                f"expected null, since a GAN's gradients are not clipped, got {trainer.gradient_clip_val:g}; "
                "use spectral normalisation or model.r1 to bound the discriminator's",
                key="trainer.gradient_clip_val",
            )
        if trainer.precision == "16-mixed":
            raise ConfigError(
                "expected a precision without scaled gradients, got 16-mixed; use bf16-mixed or 32-true",
                key="trainer.precision",
            )
        for key, optimizer in zip(("optimizer", "discriminator_optimizer"), self.build_optimizers()):
            if signature(optimizer.step).parameters["closure"].default is Parameter.empty:  # evaluates the loss itself
                raise ConfigError(
                    f"expected an optimizer that takes a step from gradients, got {type(optimizer).__name__}; use Adam",
                    key=f"model.{key}",
                )
        parts = trainer.world_size * self.discriminator_steps
        if batch_size % parts:
            raise ConfigError(
                f"expected a multiple of {parts} (devices times model.discriminator_steps), got {batch_size}; use "
                f"{-(-batch_size // parts) * parts}",
                key="data.batch_size",
            )

    def build_optimizers(self) -> list[Optimizer]:
        return [
            self.optimizer(self.generator.parameters()),
            self.discriminator_optimizer(self.discriminator.parameters()),
        ]

    def configure_optimizers(self) -> list[Optimizer]:
        """The generator's, then the discriminator's."""
        return self.build_optimizers()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Updates both networks with a batch of examples x_0 (B, *)."""
        x_0, _ = split_labels(batch)
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        seed_step(derive_seed(self.seed, "train", step, self.global_rank), self.device)
        for real in x_0.chunk(self.discriminator_steps):
            loss, accuracy_real, accuracy_generated, spread = self._update_discriminator(real)
        generator_loss = self._update_generator(len(real))
        error = 1 - (accuracy_real + accuracy_generated) / 2
        self.collapse.update(torch.stack([loss / self.loss.ignorance, error, spread]))
        share, error, _ = self.collapse.averages
        divergence = self.loss.jensen_shannon(share * self.loss.ignorance, error)
        self._log("train", loss, accuracy_real, accuracy_generated, divergence)
        self.log("train/generator_loss", generator_loss)
        return loss

    def _log(self, prefix: str, *values: Tensor) -> None:
        names = ("loss", "accuracy_real", "accuracy_generated", "jensen_shannon")
        self.log_dict({f"{prefix}/{name}": value for name, value in zip(names, values)}, sync_dist=prefix != "train")

    def _update_discriminator(self, real: Tensor) -> list[Tensor]:
        """Returns the loss, the accuracies, and the ratio of the spreads of samples and data: means over all ranks."""
        with torch.no_grad():
            generated = self._generate(self._noise(len(real)))
        real = real.detach().requires_grad_(self.r1 > 0)
        h, h_generated = self._judge(torch.cat([real, generated])).chunk(2)
        loss, *accuracies = (values.mean() for values in self._measure(h, h_generated))
        penalty = self.r1 / 2 * squared_gradient(h, real).mean() if self.r1 else 0
        spread = spread_of(generated) / spread_of(real)
        found = self._leave_gradients(self.discriminator, loss + penalty, [loss.detach(), *accuracies, spread])
        self.trainer.optimizers[1].step()
        return found

    def _update_generator(self, count: int) -> Tensor:
        """Returns the loss of so many samples, the mean over all ranks."""
        loss = self.loss.of_generator(self._judge(self._generate(self._noise(count)))).mean()
        (found,) = self._leave_gradients(self.generator, loss, [loss.detach()])
        self.optimizers()[0].step()  # type: ignore[index]  # Lightning's optimizer, which counts the step
        return found

    def _leave_gradients(self, network: nn.Module, loss: Tensor, measured: list[Tensor]) -> list[Tensor]:
        """Leaves the gradient in the network's parameters, and returns what was measured: means over all ranks.

        Reduced here, at once, since DDP waits for the gradients of both networks at every step.
        """
        parameters = [*network.parameters()]
        found = [*torch.autograd.grad(loss, parameters), *measured]
        if self.trainer.world_size > 1:
            flat = torch.cat([one.flatten() for one in found])
            parts = self.trainer.strategy.reduce(flat, reduce_op="mean").split([one.numel() for one in found])
            found = [part.view_as(one) for part, one in zip(parts, found)]
        for parameter, gradient in zip(parameters, found):
            # fused optimizers go through both in the order of memory, which backward() would make the same
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        return found[len(parameters) :]

    def _measure(self, h: Tensor, h_generated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The discriminator's loss and whether it is right, of as many real as generated examples, (B,)."""
        losses = self.loss.of_real(h) + self.loss.of_generated(h_generated)
        return losses, (h.detach() > 0).to(h), (h_generated.detach() < 0).to(h)

    def _noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(count, self.latent_size, generator=generator, device=self.device)

    def _generate(self, z: Tensor) -> Tensor:
        return self.generator(z).to(z.dtype)  # mixed precision ends here

    def _judge(self, x: Tensor) -> Tensor:
        return self.discriminator(x).to(x.dtype).squeeze(1)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Has all held-out examples judged, and as many samples, the same at every validation."""
        x_0, _ = split_labels(batch)
        # Drawn for the batch of all n ranks, of which this one holds every n-th example: nothing depends on n.
        rank, ranks = self.global_rank, self.trainer.world_size
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        seed = derive_seed(self.seed, "evaluate", batch_index)
        z = self._noise(data.eval_batch_size, seed_generator(torch.Generator(self.device), seed))
        generated = self._generate(z[rank : rank + ranks * len(x_0) : ranks])
        measured = self._measure(self._judge(x_0), self._judge(generated))
        sums = torch.stack([*(values.sum() for values in measured), z.new_tensor(len(x_0))])
        self.held_out = sums if batch_index == 0 else self.held_out + sums

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Logs the means over all held-out examples."""
        self._log_held_out("val")

    def on_test_epoch_end(self) -> None:
        """Like validation."""
        self._log_held_out("test")

    def _log_held_out(self, prefix: str) -> None:
        *sums, count = self.trainer.strategy.reduce(self.held_out, reduce_op="sum")
        if not count:
            return  # a data set without test images
        loss, accuracy_real, accuracy_generated = (total / count for total in sums)
        divergence = self.loss.jensen_shannon(loss, 1 - (accuracy_real + accuracy_generated) / 2)
        self._log(prefix, loss, accuracy_real, accuracy_generated, divergence)

    @torch.no_grad()
    def draw_at_once(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return self._generate(self._noise(shape[0], generator))

    def describe_samples(self, sampler: Sampler | None = None) -> dict[str, Any]:
        return {"nfe": 1, "latent_size": self.latent_size}
