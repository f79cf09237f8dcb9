"""AdamW."""

from typing import Annotated, Any

from pydantic import Field

from hcr.model.optimizers import NOT_DECAYED
from hcr.model.optimizers.adam import Adam


class AdamW(Adam):
    """Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"; kernels decay, biases and norms do not."""

    weight_decay: Annotated[
        float, Field(ge=0, description="fraction of a kernel subtracted per step, times the learning rate")
    ]

    def build(self, learning_rate: Any) -> Any:
        from hcr.model.fused_adam import FusedAdamW

        optimizer = FusedAdamW(
            learning_rate,
            weight_decay=self.weight_decay,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
        )
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
        return optimizer
