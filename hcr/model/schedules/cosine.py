"""Cosine decay with warm-up."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.config.settings import Fraction
from hcr.model.schedules import Schedule, Share

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule


class Cosine(Schedule):
    """Linear warm-up from 0, then cosine decay.

    Source:
        Loshchilov & Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5, without restarts.
    """

    warmup_fraction: Annotated[Fraction, Field(description="fraction of all steps in the warm-up")]
    final_fraction: Annotated[Share, Field(description="final learning rate, as a fraction of the peak")]

    def build(self, learning_rate: float, total_steps: int) -> "LearningRateSchedule":
        from keras.optimizers.schedules import CosineDecay

        warmup_steps = round(self.warmup_fraction * total_steps)
        return CosineDecay(
            initial_learning_rate=0.0 if warmup_steps else learning_rate,
            decay_steps=max(1, total_steps - warmup_steps),
            alpha=self.final_fraction,
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
