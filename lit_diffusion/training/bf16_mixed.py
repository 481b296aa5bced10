"""bf16 mixed precision that clips the gradients of fused optimizers."""

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch.optim.optimizer import Optimizer

from lit_diffusion.runs.notice import notice
from lit_diffusion.runs.processor import BF16_UNITS, bf16_slowdown


class Bf16Mixed(MixedPrecision):
    """Lightning's, except for clipping.

    Lightning refuses to clip with a fused optimizer, which undoes the scaling of float16 gradients by itself. bf16 has
    no such scaling: its gradients are clipped as in float32.
    """

    def clip_gradients(
        self,
        optimizer: Optimizer,
        clip_val: int | float = 0.0,
        gradient_clip_algorithm: GradClipAlgorithmType = GradClipAlgorithmType.NORM,
    ) -> None:
        Precision.clip_gradients(self, optimizer, clip_val, gradient_clip_algorithm)

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Replaces the plugin of a trainer with `precision: bf16-mixed`; others stay. Warns where bf16 is slow."""
        plugin = trainer.precision_plugin
        if type(plugin) is not MixedPrecision or plugin.scaler is not None:
            return
        trainer.strategy.precision_plugin = cls("bf16-mixed", plugin.device)
        times = bf16_slowdown() if plugin.device == "cpu" else 1
        if times > 1:
            notice(
                f"trainer.precision: this processor has no bf16 units (none of {', '.join(BF16_UNITS)}): a step takes "
                f"about {times} times as long as with 32-true"
            )
