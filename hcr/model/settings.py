"""Resets Keras' global settings, which a keras.json or the calling program may have changed."""

import os

import keras
from tensorflow.python.util import _pywrap_util_port

from hcr.config.errors import ConfigError
from hcr.environment import ONEDNN


def pin_keras_settings() -> None:
    """Set the defaults of Keras' layers, whatever keras.json says: images are (H, W, C), numbers float32.

    Raises:
        ConfigError: Keras was imported with another backend than TensorFlow, or TensorFlow without the oneDNN that the
            fingerprint speaks of.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"KERAS_BACKEND: expected tensorflow, got {backend}: Keras was imported before hcr; import hcr first"
        )
    asked, found = os.environ.get("TF_ENABLE_ONEDNN_OPTS"), str(int(_pywrap_util_port.IsMklEnabled()))
    if ONEDNN is not None and asked in ("0", "1") and asked != found:
        raise ConfigError(
            f"TF_ENABLE_ONEDNN_OPTS: expected {asked}, got {found}: TensorFlow was imported before hcr;"
            " import hcr first"
        )
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
