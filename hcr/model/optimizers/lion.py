"""Lion."""

from typing import Annotated, Any

from pydantic import Field

from hcr.model.optimizers import NOT_DECAYED, Optimizer


class Lion(Optimizer):
    """Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms"; Keras' implementation; only kernels decay."""

    # Keras' Lion requires both to be over 0.
    beta_1: Annotated[float, Field(gt=0, lt=1, description="weight of the momentum in the update")]
    beta_2: Annotated[float, Field(gt=0, lt=1, description="decay of the momentum")]
    weight_decay: Annotated[
        float, Field(ge=0, description="fraction of a kernel subtracted per step, times the learning rate")
    ]

    def build(self, learning_rate: Any) -> Any:
        import keras

        optimizer = keras.optimizers.Lion(
            learning_rate, beta_1=self.beta_1, beta_2=self.beta_2, weight_decay=self.weight_decay
        )
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
        return optimizer
