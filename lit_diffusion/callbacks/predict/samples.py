"""Any number of samples, as files for evaluators and for people."""

from lightning.pytorch import LightningModule, Trainer

from lit_diffusion.callbacks.class_labels import class_names, class_numbers, sample_labels
from lit_diffusion.callbacks.lookup import data_of
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.predict.sample_files import form_of, names, write
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import describe_samples, gather_blocks, sample_blocks
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import check_at_least


class Samples(Prediction):
    """`num_samples` samples, `batch_size` at a time on each device, drawn by `sampler` or else the module's sampler.

    `samples.npz` holds all of them as `arr_0`. Images with levels are (N, H, W, 3) uint8, the layout of the evaluators
    of guided-diffusion, which pass it to Inception unchanged: grey images are repeated in the three channels. Images of
    C other channels are (N, H, W, C), those of 16 bits are uint16, sequences of bits (N, D) uint8; points and
    real-valued images are float32 as drawn by the model, channels last.
    `grid.png` shows the first hundred images, or many points or sequences in one plot. Images are also written one by
    one as `samples/000000.png` etc., grey images in one channel, and channels side by side if there are
    neither 1 nor 3, real values from -extent to extent of the data.
    classes: of a model with labels, by number or name, taken in turn; by default all. `samples.npz` then holds their
    numbers as `arr_1`, and `grid.png` has one row for each.
    `samples.json` says how the samples were drawn. All files replace those of an earlier run at once, when the last
    sample has been drawn. Another batch size draws other samples.
    """

    images_only = False

    def __init__(
        self,
        num_samples: int = 64,
        batch_size: int = 64,
        sampler: Sampler | None = None,
        classes: list[int | str] | None = None,
    ):
        check_at_least(1, num_samples=num_samples, batch_size=batch_size)
        self.num_samples, self.batch_size, self.sampler = num_samples, batch_size, sampler
        self.classes = classes

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        self._numbers(trainer, pl_module)

    def _numbers(self, trainer: Trainer, pl_module: LightningModule) -> list[int]:
        return class_numbers(trainer, pl_module, self.classes) if self.classes else []

    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count, batch, sampler = self.num_samples, self.batch_size, self.sampler_for(pl_module)
        folder, form = self.folder(trainer), form_of(data_of(trainer))
        with task(trainer, "sampling", count, "images") as advance:
            classes = self._numbers(trainer, pl_module)
            blocks = sample_blocks(trainer, pl_module, sampler, count, batch, advance, classes)
            gathered = gather_blocks(trainer, blocks, count, batch, form.convert)
            if trainer.is_global_zero:
                protocol = describe_samples(trainer, pl_module, sampler, batch)
                protocol = {"samples": count, **protocol, "checkpoint": str(trainer.ckpt_path)}
                names_of_all = class_names(trainer, pl_module)
                if classes:
                    protocol["labels"] = [names_of_all[i] for i in classes]
                rows = [names_of_all[i] for i in classes] or names_of_all
                write(folder, gathered, count, form, protocol, sample_labels(pl_module, 0, count, classes), rows)
            for _ in gathered:  # other ranks draw and send
                pass
        pictures = f", grid.png and samples/{names(count)}" if form.images else " and grid.png"
        say(trainer, f"{count} samples: {folder}/samples.npz{pictures}")
