"""Any number of samples, as files for evaluators and for people."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.class_labels import class_names, class_numbers, in_turn
from lit_diffusion.callbacks.lookup import data_of, generative_of
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.predict.sample_files import form_of, names, write
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import describe_samples, gather_blocks, sample_blocks
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, check_at_least


class Samples(Prediction):
    """`num_samples` samples, `batch_size` at a time on each device, drawn by `sampler` or else the module's sampler.

    `samples.npz` holds all of them as `arr_0`. Images with levels are (N, H, W, 3) uint8, the layout of the evaluators
    of guided-diffusion, which pass it to Inception unchanged: grey images are repeated in the three channels. Images of
    C other channels are (N, H, W, C), those of 16 bits are uint16, sequences of bits (N, D) uint8; points and
    real-valued images are float32 as drawn by the model, channels last.
    `grid.png` shows the first hundred images, or many points or sequences in one plot. Images are also written one by
    one as `samples/000000.png` etc., in 8 bits: grey or RGB; with alpha if there are two or four channels, which
    `grid.png` lays over white; of five or more, the channels side by side. Real values are from -extent to extent.
    classes: of a model with labels, by name or number, taken in turn; by default all. What is the name of a class, such
    as that of a folder, stands for it even if it looks like a number. `samples.npz` then holds their numbers, from 0,
    as `arr_1`, and `grid.png` has one row for each.
    `samples.json` says how the samples were drawn. All files replace those of an earlier run at once, when the last
    sample has been drawn. Another batch size draws other samples.
    """

    images_only = False
    needs_reverse = False

    def __init__(
        self,
        num_samples: int = 64,
        batch_size: int = 64,
        sampler: Sampler | None = None,
        classes: list[int | str] | None = None,
    ):
        check_at_least(1, num_samples=num_samples, batch_size=batch_size)
        if classes == []:
            raise ConfigError("classes: expected one or more, got none; omit classes for all")
        self.num_samples, self.batch_size, self.sampler = num_samples, batch_size, sampler
        self.classes = classes

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        self.chosen(trainer, pl_module)

    def names_of_classes(self, trainer: Trainer, pl_module: LightningModule) -> list[str]:
        """Of the labels that samples have; empty for none."""
        return class_names(trainer, generative_of(pl_module).num_classes)

    def drawn_by(self, trainer: Trainer, pl_module: LightningModule) -> Callable[..., Tensor]:
        """What draws a block of samples: like `GenerativeModule.draw`."""
        return generative_of(pl_module).draw

    def chosen(self, trainer: Trainer, pl_module: LightningModule) -> dict[int, str]:
        """The classes to draw from and their names, empty for a model without labels. Raises ConfigError if unknown."""
        names = self.names_of_classes(trainer, pl_module)
        numbers = class_numbers(self.classes, names) if self.classes else range(len(names))
        return {number: names[number] for number in numbers}

    def labels(self, trainer: Trainer, pl_module: LightningModule) -> Tensor | None:
        """Of all samples, (num_samples,); None for a model without labels."""
        chosen = [*self.chosen(trainer, pl_module)]
        return in_turn(chosen, self.num_samples, pl_module.device) if chosen else None

    @contextmanager
    def gathered(
        self, trainer: Trainer, pl_module: LightningModule, labels: Tensor | None, convert: Callable[[Tensor], Tensor]
    ) -> Iterator[Iterator[Tensor]]:
        """All samples in order, converted, block by block on the first rank, while a bar advances: see `gather_blocks`,
        as for which every rank must exhaust the blocks.
        """
        count, batch = self.num_samples, self.batch_size
        with task(trainer, "sampling", count, "images") as advance:
            draw = self.drawn_by(trainer, pl_module)
            blocks = sample_blocks(trainer, pl_module, self.sampler, count, batch, advance, labels, draw)
            yield gather_blocks(trainer, blocks, count, batch, convert)

    def make(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """samples (N, *), float32 on the CPU, images with levels in [-1, 1]; and with labels labels (N,)."""
        labels = self.labels(trainer, pl_module)
        with self.gathered(trainer, pl_module, labels, Tensor.float) as blocks:
            drawn = torch.cat([*blocks])
        samples = {"samples": drawn if data_of(trainer).num_levels is None else drawn.clamp(-1, 1)}
        return samples if labels is None else {**samples, "labels": labels.cpu()}

    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count, batch = self.num_samples, self.batch_size
        folder, form = self.folder(trainer), form_of(data_of(trainer))
        chosen, labels = self.chosen(trainer, pl_module), self.labels(trainer, pl_module)
        with self.gathered(trainer, pl_module, labels, form.convert) as gathered:
            if trainer.is_global_zero:
                protocol = {"samples": count, **describe_samples(trainer, pl_module, self.sampler, batch)}
                protocol |= {**self.describe(), "checkpoint": str(trainer.ckpt_path)}
                if self.classes:
                    protocol["labels"] = [*chosen.values()]
                write(folder, gathered, count, form, protocol, labels, [*chosen.values()])
            for _ in gathered:  # other ranks draw and send
                pass
        pictures = f", grid.png and samples/{names(count)}" if form.images else " and grid.png"
        say(trainer, f"{count} samples: {folder}/samples.npz{pictures}")

    def describe(self) -> dict[str, Any]:
        """What samples depend on besides the module and the sampler."""
        return {}
