"""How much of an image survives at step t: noised, and denoised again."""

import copy
import csv

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.callbacks.chain_walk import require_finite, walk
from lit_diffusion.callbacks.lookup import diffusion_of
from lit_diffusion.callbacks.predict.held_out import check_split, reverse_of_images, some_images, write_arrays
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.seeding import derive_seed, seed_generator
from lit_diffusion.visualization import images as pictures


class Reconstruct(Prediction):
    """Takes `num_images` images of a split to each of `steps` and back: x_0 -> x_t ~ q(x_t | x_0) -> x_0'.

    The way back is the reverse chain from t, as in the stochastic decoder of Ho et al. 2020, figure 7: what survives at
    t is kept, the rest is imagined. sampler: visits t and those of its steps below t; by default the module's sampler.
    steps: by default the quarters of T. All steps share the same eps.

    `reconstruct.png` shows the images. `reconstruct.npz` holds steps (S,), originals (N, H, W, C), noisy and
    reconstructions (S, N, H, W, C), float32 in units of [-1, 1]; `reconstruct.csv` holds the root mean square error
    (RMSE) of each step on the scale 0..255.
    """

    def __init__(
        self,
        steps: list[int] | None = None,
        num_images: int = 8,
        split: str = "test",
        sampler: Sampler | None = None,
    ):
        if steps is not None and (not steps or min(steps) < 1):
            raise ConfigError(f"steps: expected steps from 1 to T, or null for the quarters of T; got {steps}")
        check_at_least(1, num_images=num_images)
        self.steps, self.num_images, self.split, self.sampler = steps, num_images, split, sampler

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        check_split(trainer, self.split, 1)
        num_steps = diffusion_of(pl_module).reverse.num_steps
        if self.steps and max(self.steps) > num_steps:
            raise ConfigError(f"steps: expected at most T = {num_steps}, got {max(self.steps)}")

    def make(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """steps (S,), originals (N, C, H, W), noisy and reconstructions (S, N, C, H, W)."""
        module = diffusion_of(pl_module)
        reverse = reverse_of_images(trainer, pl_module, self.split, self.num_images)
        seed, device = module.seed, module.device
        steps = sorted(set(self.steps or quarters(reverse.num_steps)))
        samplers = [starting_at(self.sampler_for(pl_module), t, reverse.process.schedule) for t in steps]
        x_0 = some_images(trainer, self.split, self.num_images)
        generator = seed_generator(torch.Generator(device), derive_seed(seed, "reconstruct"))
        eps = torch.randn(x_0.shape, generator=generator, device=device)
        noisy, denoised = [], []
        with task(
            trainer, "denoising", sum(len(sampler.subset(reverse.process.schedule)) for sampler in samplers)
        ) as advance:
            for t, sampler in zip(steps, samplers):
                x_t = reverse.process.marginal(x_0, torch.full((len(x_0),), t, device=device)).rsample(eps)
                noisy.append(x_t)
                seed_generator(generator, derive_seed(seed, "reconstruct", t))
                denoised.append(require_finite(walk(sampler.chain(reverse, x_t, generator), advance).x_s))
        back = torch.stack(denoised).clamp(-1, 1)
        return {"steps": torch.tensor(steps), "originals": x_0, "noisy": torch.stack(noisy), "reconstructions": back}

    @rank_zero_only
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        arrays, folder = self.make(trainer, pl_module), self.folder(trainer)
        steps, x_0, back = arrays["steps"].tolist(), arrays["originals"], arrays["reconstructions"]
        rmse = errors_of(back, x_0)
        write_arrays(folder / "reconstruct.npz", arrays)
        with written_whole(folder / "reconstruct.csv") as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([("t", "rmse"), *zip(steps, rmse)])
        rows, labels = [x_0], ["original"]
        for t, x_t, x, error in zip(steps, arrays["noisy"], back, rmse):
            rows += [x_t, x]
            labels += [f"noise to t = {t}", f"back from t = {t}\nRMSE {error:.1f}"]
        with written_whole(folder / "reconstruct.png") as temporary:
            pictures.rows(rows, labels).save(temporary)
        errors = ", ".join(f"{error:.1f} from t = {t}" for t, error in zip(steps, rmse))
        say(trainer, f"RMSE of {len(x_0)} reconstructions on the scale 0..255: {errors}")
        say(trainer, f"reconstructions: {folder}/reconstruct.png, .npz and .csv")


def errors_of(back: Tensor, x_0: Tensor) -> list[float]:
    """Root mean square errors of reconstructions (S, N, *) of x_0 (N, *), on the scale 0..255: one for each of S."""
    return [127.5 * (one - x_0).square().mean().sqrt().item() for one in back]


def quarters(num_steps: int) -> list[int]:
    """T/4, T/2, 3T/4 and T."""
    return [max(1, round(num_steps * i / 4)) for i in range(1, 5)]


def starting_at(sampler: Sampler, t: int, schedule: NoiseSchedule) -> Sampler:
    """A copy of the sampler whose chain starts at t: it visits t and those of the sampler's steps below t."""
    shortened = copy.copy(sampler)
    shortened.steps = [*(step for step in sampler.subset(schedule) if step < t), t]
    return shortened
