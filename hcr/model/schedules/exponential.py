"""Exponential decay."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.model.schedules import Schedule

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule


class Exponential(Schedule):
    """The learning rate falls by the same factor at every step, to `final_fraction` of the peak after the last."""

    final_fraction: Annotated[float, Field(gt=0, le=1, description="final learning rate, as a fraction of the peak")]

    def build(self, learning_rate: float, total_steps: int) -> "LearningRateSchedule":
        from keras.optimizers.schedules import ExponentialDecay

        return ExponentialDecay(learning_rate, decay_steps=total_steps, decay_rate=self.final_fraction)
