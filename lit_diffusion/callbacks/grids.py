"""What the model draws: grids of samples, and the chains that lead to them, as PNG files and on W&B."""

import math
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from lit_diffusion.callbacks.after_step import AfterStep
from lit_diffusion.callbacks.divergence import divergence_of
from lit_diffusion.callbacks.ema import averaged
from lit_diffusion.callbacks.evaluation import evaluating
from lit_diffusion.callbacks.progress import RunProgress, task
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, blamed_on
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.visualization import examples

COLUMNS = 11  # of a chain: t = T, 0.9 T, ..., 0


class SampleGrids(AfterStep):
    """Every `every_n_steps` steps, and at the end, writes three pictures of samples of the EMA weights to `samples/`:

    `<step>_samples.png`, a grid of `num_images`; `<step>_chain.png`, how `num_chains` of them came from noise,
    x_T..x_0; `<step>_x_0.png`, the estimates of x_0 made on the way  (Ho et al. 2020, figure 6). Before training
    it writes `data.png`, real images, and `forward.png`, their way to noise.

    The noise is the same every time, so that pictures of different steps can be compared. Only the first rank draws.
    sampler: for the pictures on the way, where a short one will do (all steps, if the model has fewer); the last ones,
        and all if it is null, are drawn by the module's own. every_n_steps: 0 for no pictures.
    """

    def __init__(
        self, every_n_steps: int = 1000, num_images: int = 64, num_chains: int = 8, sampler: Sampler | None = None
    ):
        if every_n_steps < 0 or num_images < 1 or num_chains < 1:
            raise ConfigError(
                f"SampleGrids has every_n_steps {every_n_steps}, num_images {num_images}, num_chains {num_chains}; "
                "write positive numbers, or every_n_steps: 0 for no pictures"
            )
        self.every_n_steps = every_n_steps
        self.num_images = num_images
        self.num_chains = min(num_chains, num_images)
        self.sampler = sampler

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.sampler is not None:
            self.sampler.shorten(pl_module.reverse.num_steps)

    def runs_in(self, command: str) -> bool:
        """Whether that command, of fit, validate, test and predict, will draw."""
        return command == "fit" and self.every_n_steps > 0

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises ConfigError where `sampler` is none of this model, before any training starts."""
        if self.sampler is not None:
            self.sampler.shorten(pl_module.reverse.num_steps)
            with blamed_on("grids.sampler"):
                self.sampler.check_model(pl_module.reverse)

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_steps:
            self._draw_data(trainer, pl_module)

    def due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        return self.every_n_steps > 0 and step % self.every_n_steps == 0 and step < trainer.estimated_stepping_batches

    @rank_zero_only
    def after_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_samples(trainer, pl_module, self.sampler or pl_module.sampler)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_steps and not divergence_of(trainer):
            self._draw_samples(trainer, pl_module, pl_module.sampler)

    @torch.no_grad()
    def _draw_data(self, trainer: Trainer, pl_module: LightningModule) -> None:
        process, extent = pl_module.reverse.process, trainer.datamodule.extent
        images = trainer.datamodule.example_images(self.num_images).to(pl_module.device)
        in_chain = images[: self._in_chain(trainer)]
        generator = torch.Generator(pl_module.device).manual_seed(0)
        noise = process.kind.draw_noise(in_chain, generator)
        columns, labels = [], []
        for t in reversed(column_steps(process.num_steps)):
            steps = torch.full((len(noise),), t, device=images.device)
            columns.append(process.marginal(in_chain, steps).reparameterize(noise))
            labels.append(f"t={t}")
        self._save(trainer, examples.grid(images, columns_of(len(images)), extent), "data")
        self._save(trainer, examples.chain(columns, labels, extent), "forward")

    def _in_chain(self, trainer: Trainer) -> int:
        """How many examples a chain shows: eight points or sequences would be no cloud and no raster."""
        return self.num_chains if len(trainer.datamodule.image_shape) == 3 else self.num_images

    def _draw_samples(self, trainer: Trainer, pl_module: LightningModule, sampler: Sampler) -> None:
        with evaluating(trainer, pl_module, "sampling"), averaged(trainer, pl_module):
            self._sample(trainer, pl_module, sampler)

    def _sample(self, trainer: Trainer, pl_module: LightningModule, sampler: Sampler) -> None:
        reverse, extent, in_chain = pl_module.reverse, trainer.datamodule.extent, self._in_chain(trainer)
        generator = pl_module.sample_generator(0)
        x = reverse.process.prior((self.num_images, *trainer.datamodule.image_shape), reverse.device).sample(generator)
        steps = sampler.subset(reverse.num_steps)
        shown = {steps[i - 1] if i else 0 for i in column_steps(len(steps))}
        chain, estimates, labels = [x[:in_chain]], [], [f"t={steps[-1]}"]
        bar = trainer.progress_bar_callback
        with task(trainer, "sampling", len(steps)) as advance:
            for step in sampler.chain(reverse, x, generator):
                if step.t in shown:
                    estimates.append(step.x_0[:in_chain])
                if step.s in shown:
                    chain.append(step.x_s[:in_chain])
                    labels.append(f"t={step.s}")
                x = step.x_s
                advance()
        name = f"{trainer.global_step:08d}"
        self._save(trainer, examples.chain(chain, labels, extent), f"{name}_chain")
        self._save(trainer, examples.chain(estimates, labels[: len(estimates)], extent), f"{name}_x_0")
        if trainer.datamodule.image_shape == (2,):
            self._save(trainer, drift_field(reverse), f"{name}_drift")
        path = self._save(trainer, examples.grid(x, columns_of(len(x)), extent), f"{name}_samples")
        if isinstance(bar, RunProgress):
            bar.print(f"samples at step {trainer.global_step}: {path}", highlight=False)

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
    """Where the reverse process moves points of the plane, f_mu(x_t, t) - x_t, at t = 1, T/2 and T, on a lattice."""
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


def columns_of(num_images: int) -> int:
    """Columns of the squarest grid."""
    return math.isqrt(num_images - 1) + 1
