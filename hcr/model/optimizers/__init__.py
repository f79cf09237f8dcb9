"""Optimizers, one per module: a class that declares its settings and builds the Keras optimizer."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hcr.config.parts import Part, Parts

if TYPE_CHECKING:
    import keras

Decay = Annotated[float, Field(ge=0, lt=1)]

# Weights without weight decay: biases, and the scale and shift of batch norm.
NOT_DECAYED = ["bias", "gamma", "beta"]


class Optimizer(Part):
    """Base class of optimizers; all have a peak learning rate, scaled by the schedule."""

    group: ClassVar[str] = "optimizer"

    learning_rate: Annotated[float, Field(gt=0, description="peak learning rate, scaled by the schedule")]

    def build(
        self, learning_rate: "float | keras.optimizers.schedules.LearningRateSchedule"
    ) -> "keras.optimizers.Optimizer":
        """Build the Keras optimizer.

        Args:
            learning_rate: a number, or a schedule over the steps of a run.
        """
        raise NotImplementedError


OPTIMIZERS = Parts(__name__, Optimizer, "hcr.optimizers", "build")
