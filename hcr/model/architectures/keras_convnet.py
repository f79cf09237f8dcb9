"""The convnet of the Keras MNIST example."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hcr.config.errors import ConfigError
from hcr.model.architectures import Architecture, Dropout

if TYPE_CHECKING:
    import keras


class KerasConvnet(Architecture):
    """Two valid 3x3 convolutions with pooling, then dropout.

    Source:
        "Simple MNIST convnet", keras.io code examples: 34,826 parameters on 28x28 images of 10 classes.
    """

    dropout: Annotated[Dropout, Field(description="fraction dropped before the output")]

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        height, width, _ = image_shape
        if min(height, width) < 10:  # 10 -> conv 8 -> pool 4 -> conv 2 -> pool 1
            raise ConfigError(
                f"model.name: keras_convnet shrinks a {height}x{width} image below 1x1;"
                f" expected images of 10x10 or more (model=cnn accepts smaller ones)"
            )

    def build(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        from keras import layers

        from hcr.model.fast_layers import FastDropout

        for block, filters in enumerate((32, 64), start=1):
            x = layers.Conv2D(filters, 3, name=f"conv{block}")(x)
            x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
            x = layers.Activation("relu", name=f"act{block}")(x)
        x = layers.Flatten(name="flatten")(x)
        return FastDropout(self.dropout, name="drop")(x) if self.dropout else x
