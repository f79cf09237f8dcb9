"""Muon."""

from typing import Annotated, Any

from pydantic import Field

from hcr.config.settings import Positive
from hcr.model.optimizers import Decay, Optimizer


class Muon(Optimizer):
    """Jordan et al. 2024, "Muon": orthogonalized momentum for convolution kernels, Adam for everything else.

    This is hcr's own implementation: Keras' Muon uses AdamW for every convolution kernel.
    """

    momentum: Annotated[Decay, Field(description="decay of the kernels' velocity")]
    newton_schulz_steps: Annotated[int, Field(ge=1, le=20, description="iterations that orthogonalize an update")]
    dense_kernels: Annotated[bool, Field(description="true: dense kernels too, except the output layer's")]
    adam_learning_rate: Annotated[
        Positive, Field(description="peak learning rate of everything else, scaled by the schedule too")
    ]
    adam_beta_1: Annotated[Decay, Field(description="decay of the mean of gradients")]
    adam_beta_2: Annotated[Decay, Field(description="decay of the mean of squared gradients")]
    adam_epsilon: Annotated[Positive, Field(description="added to the denominator")]

    def build(self, learning_rate: Any) -> Any:
        from hcr.model.muon import Muon as KerasMuon

        return KerasMuon(
            learning_rate,
            momentum=self.momentum,
            newton_schulz_steps=self.newton_schulz_steps,
            dense_kernels=self.dense_kernels,
            adam_ratio=self.adam_learning_rate / self.learning_rate,
            adam_beta_1=self.adam_beta_1,
            adam_beta_2=self.adam_beta_2,
            adam_epsilon=self.adam_epsilon,
        )
