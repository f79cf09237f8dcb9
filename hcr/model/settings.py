"""Keras' global settings, which a keras.json or another part of the process may have changed."""

import keras

from hcr.config.errors import ConfigError


def pin_keras_settings() -> None:
    """Set what Keras takes from keras.json where a layer does not say: images are (H, W, C), numbers float32.

    Raises:
        ConfigError: Keras has been imported with another backend than TensorFlow.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"KERAS_BACKEND: expected tensorflow, got {backend}, with which this process has imported Keras;"
            " import hcr before keras"
        )
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
