"""Samples of a model times a factor r(x_0) that was not part of its training, such as a classifier's."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.lookup import data_of, diffusion_of
from lit_diffusion.callbacks.predict.samples import Samples
from lit_diffusion.diffusion.condition import Guided
from lit_diffusion.diffusion.conditioning import ConditionedReverse, Covariance, Isotropic
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.features import FeatureExtractor


class Factor(ABC):
    """log r of examples. class_names: of the labels that it knows; empty if it knows none."""

    class_names: tuple[str, ...] = ()

    def prepare(self, device: torch.device) -> None:
        """Called before each block of samples; reads weights the first time."""

    @abstractmethod
    def log_r(self, x_0: Tensor, label: Tensor | None) -> Tensor:
        """log r(x_0) in nats, (B,), differentiable in x_0 (B, *), whose labels (B,) are None if it knows none."""


class ClassFactor(Factor):
    """r(x_0) = p(label | x_0), by the classifier whose logits `features` have."""

    def __init__(self, features: FeatureExtractor):
        if not features.class_names:
            raise ConfigError(
                f"features: expected the features of a classifier of the data's classes, such as DigitsFeatures, got "
                f"{type(features).__name__}"
            )
        self.features, self.class_names = features, features.class_names

    def prepare(self, device: torch.device) -> None:
        self.features.load()
        self.features.to(device)

    def log_r(self, x_0: Tensor, label: Tensor | None) -> Tensor:
        assert label is not None
        _, logits = self.features((x_0 + 1) * 127.5)
        return logits.log_softmax(1).gather(1, label[:, None])[:, 0]


class Guide(Samples):
    """Samples of p(x_0) r(x_0)^scale, for a model that was trained without r  (Sohl-Dickstein et al. 2015, section 2.5;
    Dhariwal & Nichol 2021): classifier guidance with `factor: ClassFactor`, or any other Factor.

    At every step the mean of p(x_0 | x_t) moves by its covariance times the gradient of scale * log r. classes: by
    number or name, taken in turn; by default all that the factor knows. covariance: see `Inpaint`. Files are those of
    `Samples`.
    """

    needs_reverse = True

    def __init__(
        self,
        factor: Factor,
        scale: float = 1.0,
        num_samples: int = 60,
        batch_size: int = 60,
        sampler: Sampler | None = None,
        classes: list[int | str] | None = None,
        covariance: Covariance = Isotropic(),
    ):
        super().__init__(num_samples, batch_size, sampler, classes)
        if not scale >= 0:
            raise ConfigError(f"scale: expected 0 or more, got {scale:g}")
        self.factor, self.scale, self.covariance = factor, scale, covariance

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        names = data_of(trainer).class_names
        if self.factor.class_names and self.factor.class_names != names:
            raise ConfigError(
                f"factor: expected a classifier of the data's classes ({', '.join(names or ()) or 'none'}), got one of "
                f"{', '.join(self.factor.class_names)}"
            )
        label = torch.zeros(1, dtype=torch.long, device=pl_module.device)
        x_0 = torch.zeros(1, *data_of(trainer).image_shape, device=pl_module.device)
        self.given(trainer, pl_module, label if self.factor.class_names else None).predict(x_0, label + 1)

    def num_classes(self, trainer: Trainer, pl_module: LightningModule) -> int | None:
        return len(self.factor.class_names) or None

    def given(self, trainer: Trainer, pl_module: LightningModule, label: Tensor | None) -> ReverseModel:
        """The model times r for examples with these labels."""
        with torch.inference_mode(False):  # what is made in this mode takes no part in gradients
            self.factor.prepare(pl_module.device)
            label = None if label is None else label.clone()

        def log_r(x_0: Tensor) -> Tensor:
            return self.scale * self.factor.log_r(x_0, label)

        reverse = diffusion_of(pl_module).reverse.given(None)
        return ConditionedReverse(reverse, Guided(log_r, data_of(trainer).image_shape), self.covariance)

    def drawn_by(self, trainer: Trainer, pl_module: LightningModule) -> Callable[..., Tensor]:
        module = diffusion_of(pl_module)

        def draw(shape: tuple[int, ...], generator: torch.Generator, label: Tensor | None, *rest: Any) -> Tensor:
            return module.draw_from(self.given(trainer, pl_module, label), shape, generator, *rest)

        return draw

    def describe(self) -> dict[str, Any]:
        return {"factor": type(self.factor).__name__, "scale": self.scale, "covariance": type(self.covariance).__name__}
