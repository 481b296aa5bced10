"""What a model makes of a partly known example: the missing part, or the example without its noise."""

from abc import abstractmethod
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from torch import Tensor

from lit_diffusion.callbacks.chain_walk import require_finite, walk
from lit_diffusion.callbacks.lookup import data_of, diffusion_of
from lit_diffusion.callbacks.predict.held_out import check_split, reverse_of_images, some_images, write_arrays
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.data.image_decoding import decode
from lit_diffusion.diffusion.condition import Condition, Known, Observed
from lit_diffusion.diffusion.conditioning import ConditionedReverse, Covariance, Isotropic
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.seeding import derive_seed, seed_generator
from lit_diffusion.visualization import examples
from lit_diffusion.visualization import images as pictures


class Conditioned(Prediction):
    """Takes `num_images` examples of a split, keeps what `observe` leaves of them, and draws `draws` examples
    each from the model's posterior given the observation  (Sohl-Dickstein et al. 2015, section 2.5).

    sampler: by default the module's sampler. covariance: of p(x_0 | x_t), for Gaussian models. Writes `<name>.png`,
    before and after, and `<name>.npz`: originals (N, ..), observed (N, ..), draws (S, N, ..), float32, channels last.
    """

    name: str
    images_only = False

    def __init__(
        self,
        num_images: int,
        draws: int,
        split: str,
        sampler: Sampler | None,
        covariance: Covariance,
    ):
        check_at_least(1, num_images=num_images, draws=draws)
        self.num_images, self.draws, self.split = num_images, draws, split
        self.sampler, self.covariance = sampler, covariance

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        check_split(trainer, self.split, 1)
        x_0 = torch.zeros(1, *data_of(trainer).image_shape)
        ConditionedReverse(diffusion_of(pl_module).reverse, self.observe(x_0, None, True)[1], self.covariance)

    @abstractmethod
    def observe(self, x_0: Tensor, generator: torch.Generator | None, has_eps: bool) -> tuple[Tensor, Condition]:
        """The observed part of examples (N, *), to be shown, and the condition that it was observed.

        has_eps: whether the noise of the model is Gaussian; otherwise it flips binary values.
        """

    def make(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """originals (N, *), observed (N, *), draws (S, N, *)."""
        module, sampler = diffusion_of(pl_module), self.sampler_for(pl_module)
        reverse = reverse_of_images(trainer, pl_module, self.split, self.num_images)
        seed, device = module.seed, module.device
        x_0 = some_images(trainer, self.split, self.num_images)
        generator = seed_generator(torch.Generator(device), derive_seed(seed, self.name))
        observed, condition = self.observe(x_0, generator, reverse.has_eps)
        conditioned, drawn = ConditionedReverse(reverse, condition, self.covariance), []
        with task(trainer, "sampling", self.draws * len(sampler.subset(reverse.process.schedule))) as advance:
            for draw in range(self.draws):
                seed_generator(generator, derive_seed(seed, self.name, draw))
                x_T = reverse.process.prior(tuple(x_0.shape), device).sample(generator)
                drawn.append(require_finite(walk(sampler.chain(conditioned, x_T, generator), advance).x_s))
        return {"originals": x_0, "observed": observed, "draws": torch.stack(drawn)}

    @rank_zero_only
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        arrays, data, folder = self.make(trainer, pl_module), data_of(trainer), self.folder(trainer)
        x_0 = arrays["originals"]
        write_arrays(folder / f"{self.name}.npz", {name: data.restore(array) for name, array in arrays.items()})
        with written_whole(folder / f"{self.name}.png") as temporary:
            self._picture([x_0, arrays["observed"], *arrays["draws"]], data.extent).save(temporary)
        say(trainer, f"{self.draws} draws for each of {len(x_0)}: {folder}/{self.name}.png and .npz")

    def _picture(self, parts: list[Tensor], extent: float) -> Image.Image:
        labels = ["original", "observed", *(f"draw {i}" for i in range(1, self.draws + 1))]
        parts = [examples.as_pictures(part) for part in parts]
        if parts[0].ndim == 4:
            return pictures.rows([part / extent for part in parts], labels)
        return examples.panels(parts[:3], labels[:3], extent)


class Inpaint(Conditioned):
    """Hides a part of each example and draws it from the model; the known part is returned bit by bit.

    known: the part that is kept: the `upper`, `lower`, `left` or `right` half, the `frame` (all but the centre
        quarter), or the path of a mask of the examples' size whose bright pixels are known.
    """

    name = "inpaint"

    def __init__(
        self,
        known: str = "upper",
        num_images: int = 8,
        draws: int = 4,
        split: str = "test",
        sampler: Sampler | None = None,
        covariance: Covariance = Isotropic(),
    ):
        super().__init__(num_images, draws, split, sampler, covariance)
        self.known = known

    def observe(self, x_0: Tensor, generator: torch.Generator | None, has_eps: bool) -> tuple[Tensor, Condition]:
        mask = known_part(self.known, tuple(x_0.shape[1:])).to(x_0.device).expand_as(x_0)
        return torch.where(mask, x_0, 0), Known(x_0, mask)


class Denoise(Conditioned):
    """Adds Gaussian noise of standard deviation `std`, or flips binary values with probability `flipped`, and draws the
    original example from the model.
    """

    name = "denoise"

    def __init__(
        self,
        std: float = 0.5,
        flipped: float = 0.1,
        num_images: int = 8,
        draws: int = 4,
        split: str = "test",
        sampler: Sampler | None = None,
        covariance: Covariance = Isotropic(),
    ):
        super().__init__(num_images, draws, split, sampler, covariance)
        Observed(torch.zeros(1), std, flipped)  # checks both
        self.std, self.flipped = std, flipped

    def observe(self, x_0: Tensor, generator: torch.Generator | None, has_eps: bool) -> tuple[Tensor, Condition]:
        if has_eps:
            observed = x_0 + self.std * torch.randn(x_0.shape, generator=generator, device=x_0.device)
        else:
            flips = torch.rand(x_0.shape, generator=generator, device=x_0.device) < self.flipped
            observed = torch.where(flips, -x_0, x_0)
        return observed, Observed(observed, self.std, self.flipped)


def known_part(name: str, shape: tuple[int, ...]) -> Tensor:
    """The mask of that name for examples of shape (C, H, W) or (D,): bool, of that shape, true where known."""
    mask = torch.zeros(shape, dtype=torch.bool)
    height, width = shape[-2:] if len(shape) > 1 else (1, shape[0])
    rows, columns = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    halves = {
        "upper": (slice(None, height // 2), slice(None)),
        "lower": (slice(height // 2, None), slice(None)),
        "left": (slice(None), slice(None, width // 2)),
        "right": (slice(None), slice(width // 2, None)),
    }
    if name == "frame" and len(shape) > 1:
        mask[:] = True
        mask[..., rows, columns] = False
    elif name in halves and (len(shape) > 1 or name in ("left", "right")):
        mask[(..., *halves[name]) if len(shape) > 1 else halves[name][1]] = True
    elif Path(name).is_file() and len(shape) > 1:
        picture = decode(name, None, 1)[0]
        if picture.shape != shape[-2:]:
            raise ConfigError(
                f"known: expected a mask of {width}x{height}, the size of the examples, but {name} is "
                f"{picture.shape[1]}x{picture.shape[0]}"
            )
        mask[:] = picture > 127
    else:
        expected = "upper, lower, left, right, frame, or the path of a mask" if len(shape) > 1 else "left or right"
        raise ConfigError(f"known: expected {expected}; got {name}")
    return mask
