"""Optimizers: a module each, with the class that declares its settings and builds Keras' optimizer."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hcr.config.parts import Part, Parts

if TYPE_CHECKING:
    import keras

Decay = Annotated[float, Field(ge=0, lt=1)]

# Weights that no decay should pull to zero: biases, and the scale and shift of batch norm.
NOT_DECAYED = ["bias", "gamma", "beta"]


class Optimizer(Part):
    """Base class of optimizers, all of which have a peak learning rate, scaled by the schedule."""

    group: ClassVar[str] = "optimizer"

    learning_rate: Annotated[float, Field(gt=0, description="peak learning rate, which the schedule scales")]

    def build(
        self, learning_rate: "float | keras.optimizers.schedules.LearningRateSchedule"
    ) -> "keras.optimizers.Optimizer":
        """Keras' optimizer.

        Args:
            learning_rate: a number, or a schedule over the steps of a run.
        """
        raise NotImplementedError


OPTIMIZERS = Parts(__name__, Optimizer, "hcr.optimizers", "build")
