"""One cycle."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.model.schedules import Schedule, Share

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule


class OneCycle(Schedule):
    """Linear warm-up, then linear down.

    Source:
        Smith & Topin 2018, "Super-Convergence", section 3; the momentum stays as it is.
    """

    warmup_fraction: Annotated[float, Field(gt=0, lt=1, description="share of all steps on the way up")]
    start_fraction: Annotated[Share, Field(description="where it starts, as a fraction of the learning rate")]
    final_fraction: Annotated[Share, Field(description="where it ends, as a fraction of the learning rate")]

    def build(self, learning_rate: float, total_steps: int) -> "LearningRateSchedule":
        from hcr.model.triangle import Triangle

        return Triangle(learning_rate, total_steps, self.warmup_fraction, self.start_fraction, self.final_fraction)
