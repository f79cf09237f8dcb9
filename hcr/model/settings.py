"""Resets Keras' global settings, which a keras.json or the calling program may have changed."""

import os

import keras
from tensorflow.python.util import _pywrap_util_port

from hcr.config.errors import ConfigError
from hcr.environment import ONEDNN


def pin_keras_settings() -> None:
    """Set the defaults of Keras' layers, whatever keras.json says: images are (H, W, C), numbers float32.

    Raises:
        ConfigError: Keras was imported with another backend than TensorFlow, or TensorFlow with another setting of
            oneDNN than the one that is recorded.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"KERAS_BACKEND: expected tensorflow, got {backend}: Keras was imported before hcr; import hcr first"
        )
    if ONEDNN is not None:
        _check_onednn(os.environ.get("TF_ENABLE_ONEDNN_OPTS", ONEDNN))
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


def _check_onednn(asked: str) -> None:
    if asked not in ("0", "1"):
        raise ConfigError(f"TF_ENABLE_ONEDNN_OPTS: expected 0 or 1, got {asked!r}")
    found = str(int(_pywrap_util_port.IsMklEnabled()))
    if found != asked:
        raise ConfigError(
            f"TF_ENABLE_ONEDNN_OPTS: expected {asked}, got {found} when TensorFlow was imported; import hcr before"
            f" TensorFlow and Keras, or set TF_ENABLE_ONEDNN_OPTS={found} before Python starts"
        )
