"""RMSprop."""

from typing import Annotated, Any

from pydantic import Field

from hcr.config.settings import Positive
from hcr.model.optimizers import Decay, Optimizer


class Rmsprop(Optimizer):
    """Tieleman & Hinton 2012, "RMSProp", lecture 6.5 of Neural Networks for Machine Learning; Keras' implementation."""

    rho: Annotated[Decay, Field(description="decay of the mean of squared gradients")]
    momentum: Annotated[Decay, Field(description="decay of the velocity")]
    epsilon: Annotated[Positive, Field(description="added to the denominator")]

    def build(self, learning_rate: Any) -> Any:
        import keras

        return keras.optimizers.RMSprop(learning_rate, rho=self.rho, momentum=self.momentum, epsilon=self.epsilon)
