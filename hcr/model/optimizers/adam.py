"""Adam."""

from typing import Annotated, Any

from pydantic import Field

from hcr.config.settings import Positive
from hcr.model.optimizers import Decay, Optimizer


class Adam(Optimizer):
    """Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization"; as Keras computes it."""

    beta_1: Annotated[Decay, Field(description="decay of the mean of gradients")]
    beta_2: Annotated[Decay, Field(description="decay of the mean of squared gradients")]
    epsilon: Annotated[Positive, Field(description="added to the denominator")]

    def build(self, learning_rate: Any) -> Any:
        from hcr.model.fused_adam import FusedAdam

        return FusedAdam(learning_rate, beta_1=self.beta_1, beta_2=self.beta_2, epsilon=self.epsilon)
