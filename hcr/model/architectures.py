"""Keras models: raw pixels 0..255 in, probabilities out."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
from keras import layers

from hcr.config.model import CnnConfig, KerasConvnetConfig, ModelConfig

# Keras' 0.99 forgets the initial statistics only after some 500 steps, which small data sets never reach.
NORM_MOMENTUM = 0.9


def build_model(cfg: ModelConfig, image_shape: tuple[int, ...], num_classes: int, seed: int) -> keras.Model:
    """The architecture that `cfg` names, with initial weights decided by `seed`.

    Args:
        cfg: what to build.
        image_shape: (height, width, channels).
        num_classes: K.
        seed: sets the random streams of Python, NumPy and TensorFlow, and with them those of the initializers
            and of dropout.

    Returns:
        A model from uint8 images (N, H, W, C), 0..255, to float32 probabilities (N, K) whose rows sum to 1.
        Its first layer scales to [0, 1].
    """
    # Names without a counter, so that the same config gives the same model however many were built before.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    images = keras.Input(image_shape, dtype="uint8", name="images")
    scaled = layers.Rescaling(1 / 255, name="scale")(images)
    features = BUILDERS[type(cfg)](cfg, scaled)
    logits = layers.Dense(num_classes, name="logits")(features)
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(images, probabilities, name=cfg.name)


def build_cnn(cfg: CnnConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    """`depth` blocks of convolution, batch norm, activation and pooling, then dense layers.

    Input: scaled images (N, H, W, C). Output: features (N, F).
    """
    for block, filters in enumerate(cfg.filters_per_block, start=1):
        # Batch norm has a shift of its own, so the convolution before it needs none.
        x = layers.Conv2D(filters, cfg.kernel_size, padding="same", use_bias=not cfg.batch_norm, name=f"conv{block}")(x)
        if cfg.batch_norm:
            x = layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"norm{block}")(x)
        x = layers.Activation(cfg.activation, name=f"act{block}")(x)
        if cfg.pooling == "max":
            x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
        elif cfg.pooling == "average":
            x = layers.AveragePooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(cfg.dense_units, start=1):
        if cfg.dropout:
            x = layers.Dropout(cfg.dropout, name=f"drop{i}")(x)
        x = layers.Dense(units, activation=cfg.activation, name=f"dense{i}")(x)
    if cfg.dropout:
        x = layers.Dropout(cfg.dropout, name="drop")(x)
    return x


def build_keras_convnet(cfg: KerasConvnetConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    """Two valid 3x3 convolutions with pooling, then dropout.

    Input: scaled images (N, H, W, C), 10x10 or larger. Output: features (N, F).

    Source:
        "Simple MNIST convnet", keras.io code examples: 34,826 parameters on 28x28 images of 10 classes.
    """
    for block, filters in enumerate((32, 64), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    if cfg.dropout:
        x = layers.Dropout(cfg.dropout, name="drop")(x)
    return x


BUILDERS: Mapping[type[ModelConfig], Callable[[Any, keras.KerasTensor], keras.KerasTensor]] = MappingProxyType(
    {CnnConfig: build_cnn, KerasConvnetConfig: build_keras_convnet}
)
