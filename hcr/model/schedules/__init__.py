"""Learning-rate schedules, one per module: a class that declares its settings and builds it."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hcr.config.parts import Part, Parts

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule

Share = Annotated[float, Field(ge=0, le=1)]


class Schedule(Part):
    """Base class of schedules: the learning rate over the steps of a run."""

    group: ClassVar[str] = "schedule"

    def build(self, learning_rate: float, total_steps: int) -> "float | LearningRateSchedule":
        """Build the schedule for Keras.

        Args:
            learning_rate: the peak.
            total_steps: of the whole run.
        """
        raise NotImplementedError


SCHEDULES = Parts(__name__, Schedule, "hcr.schedules", "build")
