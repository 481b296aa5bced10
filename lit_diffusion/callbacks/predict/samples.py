"""Any number of samples, as files that evaluators read and people look at."""

from lightning.pytorch import LightningModule, Trainer

from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.predict.sample_files import form_of, names, write
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import describe_samples, gather_blocks, sample_blocks
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError


class Samples(Prediction):
    """`num_samples` samples, `batch_size` at once on each device, by `sampler` or else the model's own.

    `samples.npz` holds all of them as `arr_0`. Images of levels are (N, H, W, 3) uint8, the layout of the evaluators of
    guided-diffusion, which feed it to Inception as it is: grey images are repeated in the three channels. Sequences of
    bits are (N, D) uint8; points and real-valued images are float32, as the model draws them, channels last.
    `grid.png` shows the first hundred images, or many points or sequences in one plot; of images `samples/000000.png`
    and so on are the same one by one, grey ones in one channel, real values from -extent to extent of the data;
    `samples.json` says how they were drawn. All replace those of an earlier run at once, when the last sample is
    drawn. Other batch sizes draw other samples.
    """

    def __init__(self, num_samples: int = 64, batch_size: int = 64, sampler: Sampler | None = None):
        for name, value in (("num_samples", num_samples), ("batch_size", batch_size)):
            if value < 1:
                raise ConfigError(f"{name}: {value} are no images; write 1 or more")
        self.num_samples, self.batch_size, self.sampler = num_samples, batch_size, sampler

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(trainer.datamodule.image_shape) == 3:
            super().check(trainer, pl_module)
        (self.sampler or pl_module.sampler).check_model(pl_module.reverse)

    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count, batch, sampler = self.num_samples, self.batch_size, self.sampler or pl_module.sampler
        folder, form = self.folder(trainer), form_of(trainer.datamodule)
        with task(trainer, "sampling", count, "images") as advance:
            own = sample_blocks(trainer, pl_module, sampler, count, batch, advance)
            kept = gather_blocks(trainer, own, count, batch, form.kept)
            if trainer.is_global_zero:
                how = describe_samples(trainer, pl_module, sampler, batch)
                write(folder, kept, count, form, {"samples": count, **how, "checkpoint": str(trainer.ckpt_path)})
            for _ in kept:  # other ranks draw and send
                pass
        pictures = f", grid.png and samples/{names(count)}" if form.images else " and grid.png"
        say(trainer, f"{count} samples: {folder}/samples.npz{pictures}")
