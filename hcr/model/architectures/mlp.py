"""A multilayer perceptron."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.config.settings import Listing
from hcr.model.architectures import Activation, Architecture, Dropout, Width

if TYPE_CHECKING:
    import keras


class Mlp(Architecture):
    """Dense layers on the flattened image, each with optional batch norm and dropout."""

    dense_units: Annotated[Listing[Width], Field(description="units of each dense layer before the output")]
    batch_norm: Annotated[bool, Field(description="batch normalization after each dense layer")]
    dropout: Annotated[Dropout, Field(description="fraction dropped after each dense layer")]
    activation: Activation

    def build(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        from keras import layers

        from hcr.model.fast_layers import FastDropout, batch_norm

        x = layers.Flatten(name="flatten")(x)
        for i, units in enumerate(self.dense_units, start=1):
            x = layers.Dense(units, use_bias=not self.batch_norm, name=f"dense{i}")(x)
            x = batch_norm(x, f"norm{i}") if self.batch_norm else x
            x = layers.Activation(self.activation, name=f"act{i}")(x)
            x = FastDropout(self.dropout, name=f"drop{i}")(x) if self.dropout else x
        return x
