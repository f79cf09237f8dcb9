"""Stochastic gradient descent."""

from typing import Annotated, Any

from pydantic import Field

from hcr.model.optimizers import Decay, Optimizer


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum, optionally Nesterov's."""

    momentum: Annotated[Decay, Field(description="decay of the velocity")]
    nesterov: Annotated[bool, Field(description="true: Nesterov momentum")]

    def build(self, learning_rate: Any) -> Any:
        import keras

        return keras.optimizers.SGD(learning_rate, momentum=self.momentum, nesterov=self.nesterov)
