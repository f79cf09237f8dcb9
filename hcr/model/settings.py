"""Resets Keras' global settings, which a keras.json or the calling program may have changed."""

import keras

from hcr.config.errors import ConfigError


def pin_keras_settings() -> None:
    """Set the defaults of Keras' layers, whatever keras.json says: images are (H, W, C), numbers float32.

    Raises:
        ConfigError: Keras was imported with another backend than TensorFlow.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"KERAS_BACKEND: expected tensorflow, got {backend}: Keras was imported before hcr; import hcr first"
        )
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
