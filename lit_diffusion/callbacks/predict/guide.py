"""Samples of a model times a factor r that was not part of its training, such as a classifier's."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.lookup import data_of, diffusion_of
from lit_diffusion.callbacks.predict.samples import Samples
from lit_diffusion.diffusion.condition import Guided
from lit_diffusion.diffusion.conditioning import ClassifierGuidedReverse, ConditionedReverse, Covariance, Isotropic
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.metrics.features import FeatureExtractor


class Factor(ABC):
    """log r of examples x_0. class_names: of the labels that it knows; empty if it knows none."""

    class_names: tuple[str, ...] = ()

    def prepare(self, device: torch.device) -> None:
        """Called before each block of samples; reads weights the first time."""

    @abstractmethod
    def log_r(self, x_0: Tensor, label: Tensor | None) -> Tensor:
        """log r(x_0) in nats, (B,), differentiable in x_0 (B, *), whose labels (B,) are None if it knows none."""

    def multiply(
        self, reverse: ReverseModel, label: Tensor | None, scale: float, shape: tuple[int, ...], covariance: Covariance
    ) -> ReverseModel:
        """The model times r^scale for examples of `shape` with these labels."""
        return ConditionedReverse(reverse, Guided(lambda x_0: scale * self.log_r(x_0, label), shape), covariance)


class NoisyFactor(Factor):
    """log r of noisy examples x_t at any step t, such as that of a classifier p(label | x_t) that was trained on them
    (Dhariwal & Nichol 2021). Exact for scale 1 with an exact classifier; only for models with Gaussian noise.
    """

    @abstractmethod
    def log_r(  # type: ignore[override]  # it is never called with x_0
        self, x_t: Tensor, label: Tensor | None, t: Tensor
    ) -> Tensor:
        """log r in nats, (B,), differentiable in x_t (B, *), at the steps t (B,) in 1..T."""

    def multiply(
        self, reverse: ReverseModel, label: Tensor | None, scale: float, shape: tuple[int, ...], covariance: Covariance
    ) -> ReverseModel:
        return ClassifierGuidedReverse(reverse, lambda x_t, t: self.log_r(x_t, label, t), scale)


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

    At every step the mean of p(x_0 | x_t) moves by its covariance times the gradient of scale * log r; with a
    NoisyFactor the score of q(x_t) moves by that gradient at x_t. classes: by number or name, taken in turn; by default
    all that the factor knows. covariance: of a Factor that is not noisy, see `Inpaint`. Files are those of `Samples`.

    The gradient is taken at the mean. Where log r bends strongly within the spread of p(x_0 | x_t), as that of a far
    narrower Gaussian r does, a step overshoots and samples diverge: `Denoise` conditions on such an r exactly.
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
        if not 0 <= scale < math.inf:
            raise ConfigError(f"scale: expected a finite number of 0 or more, got {scale:g}")
        self.factor, self.scale, self.covariance = factor, scale, covariance

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        names = data_of(trainer).class_names  # data without them may be of any classes
        if self.factor.class_names and names and self.factor.class_names != names:
            raise ConfigError(
                f"factor: expected a classifier of the data's classes ({', '.join(names)}), got one of "
                f"{', '.join(self.factor.class_names)}"
            )
        label = torch.zeros(2, dtype=torch.long, device=pl_module.device)
        x = torch.zeros(2, *data_of(trainer).image_shape, device=pl_module.device)
        try:
            self.given(trainer, pl_module, label if self.factor.class_names else None).predict(x, label + 1)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"factor: {type(self.factor).__name__} cannot be evaluated for examples of shape {tuple(x.shape[1:])} "
                f"({first_words(error)}); expected log_r to return one value for each"
            ) from error

    def names_of_classes(self, trainer: Trainer, pl_module: LightningModule) -> list[str]:
        return [*self.factor.class_names]

    def given(self, trainer: Trainer, pl_module: LightningModule, label: Tensor | None) -> ReverseModel:
        """The model times r for examples with these labels."""
        with torch.inference_mode(False):  # what is made in this mode takes no part in gradients
            self.factor.prepare(pl_module.device)
            label = None if label is None else label.clone()

        reverse, shape = diffusion_of(pl_module).reverse.given(None), data_of(trainer).image_shape
        return self.factor.multiply(reverse, label, self.scale, shape, self.covariance)

    def drawn_by(self, trainer: Trainer, pl_module: LightningModule) -> Callable[..., Tensor]:
        module = diffusion_of(pl_module)

        def draw(shape: tuple[int, ...], generator: torch.Generator, label: Tensor | None, *rest: Any) -> Tensor:
            return module.draw_from(self.given(trainer, pl_module, label), shape, generator, *rest)

        return draw

    def describe(self) -> dict[str, Any]:
        known = {} if isinstance(self.factor, NoisyFactor) else {"covariance": type(self.covariance).__name__}
        return {"factor": type(self.factor).__name__, "scale": self.scale, **known}
