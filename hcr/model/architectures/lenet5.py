"""LeNet-5."""

from typing import TYPE_CHECKING

from hcr.config.errors import ConfigError
from hcr.model.architectures import Activation, Architecture

if TYPE_CHECKING:
    import keras


class LeNet5(Architecture):
    """Convolutions of 6 and 16 filters with average pooling, then dense layers of 120 and 84 units.

    Source:
        LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", section II.B; without the
        partial connections and the radial basis output, and with padding from 28x28 to the original 32x32 images.
        The original's third convolution is the first dense layer here.
    """

    activation: Activation

    def check_image(self, image_shape: tuple[int, ...]) -> None:
        height, width, _ = image_shape
        if min(height, width) < 12:  # 12 -> pool 6 -> conv 2 -> pool 1
            raise ConfigError(
                f"model.name: lenet5 shrinks a {height}x{width} image below 1x1; expected images of 12x12 or more"
                " (model=cnn accepts smaller ones)"
            )

    def build(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        from keras import layers

        x = layers.Conv2D(6, 5, padding="same", activation=self.activation, name="conv1")(x)
        x = layers.AveragePooling2D(2, name="pool1")(x)
        x = layers.Conv2D(16, 5, activation=self.activation, name="conv2")(x)
        x = layers.AveragePooling2D(2, name="pool2")(x)
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(120, activation=self.activation, name="dense1")(x)
        return layers.Dense(84, activation=self.activation, name="dense2")(x)
