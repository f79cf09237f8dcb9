"""A triangular learning-rate schedule, which Keras lacks."""

from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule


class Triangle(LearningRateSchedule):
    """A linear rise from `start` to the peak during `warmup`, then a linear fall to `final` at the last step.

    Args:
        peak: the highest learning rate.
        total_steps: of the whole run.
        warmup: share of the steps in the rise, in (0, 1).
        start, final: fractions of the peak, in [0, 1].
    """

    def __init__(self, peak: float, total_steps: int, warmup: float, start: float, final: float) -> None:
        self.peak, self.total_steps = peak, total_steps
        self.warmup, self.start, self.final = warmup, start, final

    def __call__(self, step: Any) -> Any:
        done = keras.ops.cast(step, "float32") / self.total_steps
        up = self.start + (1 - self.start) * done / self.warmup
        down = 1 - (1 - self.final) * (done - self.warmup) / (1 - self.warmup)
        return self.peak * keras.ops.where(done < self.warmup, up, keras.ops.maximum(down, self.final))
