"""How a model with one loss an example is trained: one optimizer, a schedule of its learning rate, a held-out loss."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import LRSchedulerTypeUnion, OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.optim.optimizer import Optimizer
from torchmetrics import MeanMetric

from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.modules.generative import Batch, GenerativeModule, split_labels
from lit_diffusion.seeding import derive_seed, seed_step


class LinearWarmup(LambdaLR):
    """The learning rate times min(step / steps, 1)  (Ho et al. 2020, code); constant for steps = 0."""

    def __init__(self, optimizer: Optimizer, steps: int = 5000):
        if steps < 0:
            raise ConfigError(f"steps: expected 0 or more, got {steps}; use 5000 as in the paper, or 0 for no warm-up")
        super().__init__(optimizer, lambda step: min(step / steps, 1.0) if steps else 1.0)


class LossModule(GenerativeModule):
    """Minimises the mean of `loss`.

    optimizer and lr_schedule are called with the parameters and the optimizer; the schedule advances with every step,
    and torch.optim.lr_scheduler.ReduceLROnPlateau with every validation, by `val/loss`.

    All randomness of a training step (such as t, noise, dropout) is a function of (seed, step, rank), so that a resumed
    run equals an unbroken one and nothing between steps can disturb training. The seed is that of `seed_everything`.
    """

    def __init__(self, optimizer: OptimizerCallable = Adam, lr_schedule: LRSchedulerCallable = LinearWarmup):
        super().__init__()
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        # Sums over ranks, then divides: Lightning's own mean truncates the mean number of images a rank to an integer.
        self.held_out = MeanMetric(nan_strategy="disable")  # a loss of NaN must not be skipped

    @abstractmethod
    def loss(self, x_0: Tensor, label: Tensor | None, randomness: Sequence[Any] | None = None) -> Tensor:
        """The loss of each example x_0 (B, *), (B,), with their labels (B,) if the model takes any.

        randomness: from `draw_randomness`, for these examples; by default it is drawn.
        """

    @abstractmethod
    def draw_randomness(self, x_0: Tensor) -> Sequence[Any]:
        """All that `loss` draws for examples x_0 (B, *), from torch's global generators: values that can be indexed by
        examples.
        """

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The mean loss of a batch of examples x_0 (B, *), images in [-1, 1], with labels if the model takes any."""
        x_0, label = split_labels(batch)
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        seed_step(derive_seed(self.seed, "train", step, self.global_rank), self.device)
        loss = self.loss(x_0, label).mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Logs the mean loss of all held-out examples, with the same randomness at every validation."""
        self._evaluate("val/loss", batch, batch_index)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Like validation."""
        self._evaluate("test/loss", batch, batch_index)

    def _evaluate(self, name: str, batch: Batch, batch_index: int) -> None:
        x_0, label = split_labels(batch)
        if not len(x_0):
            return  # a data set without test images
        # Drawn for the batch of all n ranks, of which this one holds every n-th image: the loss does not depend on n.
        rank, ranks = self.global_rank, self.trainer.world_size
        seed_step(derive_seed(self.seed, "evaluate", batch_index), self.device)
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        whole = x_0.new_empty(data.eval_batch_size, *x_0.shape[1:])
        own = slice(rank, rank + ranks * len(x_0), ranks)
        self.held_out.update(self.loss(x_0, label, [part[own] for part in self.draw_randomness(whole)]))
        self.log(name, self.held_out)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimizer and a learning-rate schedule in steps."""
        (optimizer,) = self.build_optimizers()
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if scaled and self.trainer.gradient_clip_val and optimizer.defaults.get("fused"):
            raise ConfigError(
                "a fused optimizer cannot clip the scaled gradients of 16-mixed; set model.optimizer.fused: false, or "
                "trainer.precision: bf16-mixed",
                key="model.optimizer.fused",
            )
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # as all schedules but ReduceLROnPlateau do
        schedule = self.lr_schedule(optimizer)
        if isinstance(schedule, ReduceLROnPlateau) and not self.trainer.limit_val_batches:
            raise ConfigError(
                "ReduceLROnPlateau follows val/loss, but trainer.limit_val_batches is 0; use another schedule",
                key="model.lr_schedule",
            )
        return {  # Lightning would step ReduceLROnPlateau at every step, with the latest loss
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "reduce_on_plateau": False},
        }

    def lr_scheduler_step(self, scheduler: LRSchedulerTypeUnion, metric: Any) -> None:
        """Called at the end of every step. Raises ConfigError for a schedule that ends before its run."""
        if isinstance(scheduler, ReduceLROnPlateau):
            return
        try:
            scheduler.step()
        except ValueError as error:  # of OneCycleLR, in a run whose length was not known at its start
            raise ConfigError(
                f"{type(scheduler).__name__} ends at step {self.trainer.global_step} ({first_words(error)}); use a "
                "longer schedule, or set trainer.max_steps",
                key="model.lr_schedule",
            ) from error

    def on_validation_end(self) -> None:
        """In a fit, a ReduceLROnPlateau advances with every validation, by `val/loss`."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            for config in self.trainer.lr_scheduler_configs:
                if isinstance(config.scheduler, ReduceLROnPlateau):
                    config.scheduler.step(self.trainer.callback_metrics["val/loss"])
