"""Pictures of samples and of the chains that lead to them, as PNG files and on W&B."""

from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from lit_diffusion.callbacks.after_step import AfterStep
from lit_diffusion.callbacks.class_labels import class_names, sample_labels
from lit_diffusion.callbacks.divergence import divergence_of
from lit_diffusion.callbacks.ema import averaged
from lit_diffusion.callbacks.evaluation import evaluating
from lit_diffusion.callbacks.lookup import data_of, diffusion_of, generative_of, is_trial
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import advance_by
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler, Step
from lit_diffusion.errors import blamed_on, check_at_least
from lit_diffusion.modules.generative import GenerativeModule
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.visualization import examples

FEW = 10  # steps of the chain of a trial
COLUMNS = 11  # of a chain: t = T, 0.9 T, ..., 0


class SampleGrids(AfterStep):
    """Writes three pictures of samples to `samples/` every `every_n_steps` steps and at the end, with the EMA weights:

    `<step>_samples.png`, a grid of `num_images`, with a row for each class of a model with labels; `<step>_chain.png`,
    the chains x_T..x_0 of `num_chains` of them; `<step>_x_0.png`, the estimates of x_0 along these chains  (Ho et al.
    2020, figure 6). Before training it writes `data.png`, real images, and `forward.png`, their forward process.

    The noise is the same every time, so that pictures of different steps can be compared. Only the first rank draws.
    sampler: for the pictures during training, for which a short chain is enough (all steps if the model has fewer); the
        module's sampler draws the last pictures, and all of them if this is null. every_n_steps: 0 for no pictures.
    With `trainer.fast_dev_run` the last chain, too, is short.
    """

    def __init__(
        self, every_n_steps: int = 1000, num_images: int = 64, num_chains: int = 8, sampler: Sampler | None = None
    ):
        check_at_least(0, every_n_steps=every_n_steps)
        check_at_least(1, num_images=num_images, num_chains=num_chains)
        self.every_n_steps = every_n_steps
        self.num_images = num_images
        self.num_chains = min(num_chains, num_images)
        self.sampler = sampler

    def runs_in(self, command: str) -> bool:
        """Whether `command` (fit, validate, test or predict) draws pictures."""
        return command == "fit" and self.every_n_steps > 0

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises ConfigError before training if the model does not support `sampler`."""
        if self.sampler is not None:
            module = generative_of(pl_module)
            with blamed_on("grids.sampler"):
                module.check_sampler(module.adapt(self.sampler))

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_steps:
            self._draw_data(trainer, generative_of(pl_module))

    def due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        return self.every_n_steps > 0 and step % self.every_n_steps == 0 and step < trainer.estimated_stepping_batches

    @rank_zero_only
    def after_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_samples(trainer, pl_module, self.sampler)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_steps and not divergence_of(trainer):
            few = generative_of(pl_module).adapt(None, FEW) if is_trial(trainer) else None
            self._draw_samples(trainer, pl_module, few)

    @torch.no_grad()
    def _draw_data(self, trainer: Trainer, module: GenerativeModule) -> None:
        data, device = data_of(trainer), module.device
        images = data.example_images(self.num_images).to(device)
        self._save(trainer, examples.grid(images, data.extent), "data")
        if module.process is None:
            return
        process, in_chain = module.process, data.example_images(self._in_chain(trainer)).to(device)
        base = process.kind.draw_base(in_chain, torch.Generator(device).manual_seed(0))
        steps = column_steps(process.num_steps)[::-1]
        at_steps = [torch.full((len(in_chain),), t, device=device) for t in steps]
        columns = [process.marginal(in_chain, t).rsample(base) for t in at_steps]
        self._save(trainer, examples.chain(columns, [f"t={t}" for t in steps], data.extent), "forward")

    def _in_chain(self, trainer: Trainer) -> int:
        """How many examples a chain shows; eight points or sequences would be too few for a cloud or a raster."""
        return self.num_chains if len(data_of(trainer).image_shape) >= 3 else self.num_images

    def _draw_samples(self, trainer: Trainer, pl_module: LightningModule, sampler: Sampler | None) -> None:
        module, data, in_chain = generative_of(pl_module), data_of(trainer), self._in_chain(trainer)
        sampler = module.adapt(sampler)
        steps = module.chain_steps(sampler)
        shown = {steps[i - 1] if i else 0 for i in column_steps(len(steps))} if steps else set()
        chain, estimates, labels = list[torch.Tensor](), list[torch.Tensor](), [f"t={t}" for t in steps[-1:]]

        def observe(step: Step) -> None:
            if not chain:
                chain.append(step.x_t[:in_chain])
            if step.t in shown:
                estimates.append(step.x_0[:in_chain])
            if step.s in shown:
                chain.append(step.x_s[:in_chain])
                labels.append(f"t={step.s}")

        with evaluating(trainer, pl_module, "sampling"), averaged(trainer, pl_module):
            shape, label = (self.num_images, *data.image_shape), sample_labels(pl_module, self.num_images)
            total = max(len(steps), 1)
            with task(trainer, "sampling", total) as advance:
                generator, share_done = module.sample_generator(0), partial(advance_by, advance, total)
                x_0 = module.draw(shape, generator, label, sampler, share_done, observe)
            name = f"{trainer.global_step:08d}"
            if chain:
                self._save(trainer, examples.chain(chain, labels, data.extent), f"{name}_chain")
                self._save(trainer, examples.chain(estimates, labels[: len(estimates)], data.extent), f"{name}_x_0")
            if data.image_shape == (2,) and module.has_reverse and module.num_classes is None:
                self._save(trainer, drift_field(diffusion_of(pl_module).reverse), f"{name}_drift")
            names = class_names(trainer, module.num_classes)
            path = self._save(trainer, examples.grid(x_0, data.extent, names), f"{name}_samples")
        if not is_trial(trainer):
            say(trainer, f"samples at step {trainer.global_step}: {path}")

    @staticmethod
    def _save(trainer: Trainer, picture: Image.Image, name: str) -> Path:
        path = Path(trainer.default_root_dir) / "samples" / f"{name}.png"
        with written_whole(path) as temporary:
            picture.save(temporary)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(key=name.split("_", 1)[-1], images=[picture], step=trainer.global_step)
        return path


@torch.no_grad()
def drift_field(reverse: ReverseModel) -> Image.Image:
    """The drift f_mu(x_t, t) - x_t of the reverse process in the plane at t = 1, T/2 and T, on a lattice."""
    line = torch.linspace(-2.5, 2.5, 21, device=reverse.device)
    points = torch.cartesian_prod(line, line)
    steps = [1, (1 + reverse.num_steps) // 2, reverse.num_steps]
    moved = []
    for t in steps:
        at_t = torch.full((len(points),), t, device=reverse.device)
        moved.append(reverse.predict(points, at_t, clip=True).transition(at_t - 1).mean - points)
    return examples.drift([points] * len(steps), moved, [f"drift at t={t}" for t in steps])


def column_steps(num_steps: int) -> list[int]:
    """At most COLUMNS steps from 0 to T, evenly spread, descending."""
    count = min(COLUMNS, num_steps + 1)
    return [round(num_steps * i / (count - 1)) for i in reversed(range(count))]
