"""The one-cycle schedule."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.model.schedules import Schedule, Share

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule


class OneCycle(Schedule):
    """Linear warm-up, then linear decay.

    Source:
        Smith & Topin 2018, "Super-Convergence", section 3; here the momentum is constant.
    """

    warmup_fraction: Annotated[float, Field(gt=0, lt=1, description="fraction of all steps in the warm-up")]
    start_fraction: Annotated[Share, Field(description="initial learning rate, as a fraction of the peak")]
    final_fraction: Annotated[Share, Field(description="final learning rate, as a fraction of the peak")]

    def build(self, learning_rate: float, total_steps: int) -> "LearningRateSchedule":
        from hcr.model.triangle import Triangle

        return Triangle(learning_rate, total_steps, self.warmup_fraction, self.start_fraction, self.final_fraction)
