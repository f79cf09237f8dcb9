"""Keras models: raw pixels 0..255 in, probabilities out."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
from keras import layers

from hcr.config.model import Block, CnnConfig, KerasConvnetConfig, LeNet5Config, MlpConfig, ModelConfig, ResNetConfig
from hcr.model.fast_layers import FastDropout, FusedBatchNormalization
from hcr.model.settings import pin_keras_settings

# Keras' 0.99 forgets the initial statistics only after some 500 steps, which small data sets never reach.
NORM_MOMENTUM = 0.9

RISING = ("relu", "elu", "leaky_relu", "tanh")  # activations that never fall


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

    Raises:
        ConfigError: Keras runs on another backend than TensorFlow.
    """
    pin_keras_settings()
    keras.utils.set_random_seed(seed)
    images = keras.Input(image_shape, dtype="uint8", name="images")
    scaled = layers.Rescaling(1 / 255, name="scale")(images)
    builder = BUILDERS.get(type(cfg)) or type(cfg).build  # type: ignore[attr-defined]  # an installed package's
    features = builder(cfg, scaled)
    logits = layers.Dense(num_classes, name="logits")(features)
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(images, probabilities, name=cfg.name)


def build_cnn(cfg: CnnConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    """`depth` blocks of convolution, batch norm, activation and pooling, then dense layers.

    Input: scaled images (N, H, W, C). Output: features (N, F).
    """
    if cfg.crop is not None:
        x = layers.CenterCrop(cfg.crop, cfg.crop, name="crop")(x)
    for number, block in enumerate(cfg.blocks, start=1):
        x = _cnn_block(cfg, block, x, str(number))
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(cfg.dense_units, start=1):
        if cfg.dropout:
            x = FastDropout(cfg.dropout, name=f"drop{i}")(x)
        x = layers.Dense(units, activation=cfg.activation, name=f"dense{i}")(x)
    if cfg.dropout:
        x = FastDropout(cfg.dropout, name="drop")(x)
    return x


def _cnn_block(cfg: CnnConfig, block: Block, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Convolutions, each with norm and activation, and pooling."""
    for i in range(block.convolutions):
        if i > 0:
            x = layers.Activation(cfg.activation, name=f"act{name}")(x)
            name = f"{name.partition('_')[0]}_{i + 1}"
        x = layers.Conv2D(
            block.filters,
            block.kernel_size,
            strides=block.strides if i == 0 else 1,
            padding=block.padding,
            use_bias=not cfg.batch_norm,  # batch norm has a shift of its own
            name=f"conv{name}",
        )(x)
        if cfg.batch_norm:
            x = _norm(x, f"norm{name}")
    # The maximum of rising values is the rising of the maximum: the same result, a quarter of the work.
    if block.pooling == "max" and cfg.activation in RISING:
        x = layers.MaxPooling2D(2, name=f"pool{name}")(x)
        return layers.Activation(cfg.activation, name=f"act{name}")(x)
    x = layers.Activation(cfg.activation, name=f"act{name}")(x)
    if block.pooling == "max":
        return layers.MaxPooling2D(2, name=f"pool{name}")(x)
    return layers.AveragePooling2D(2, name=f"pool{name}")(x) if block.pooling == "average" else x


def build_keras_convnet(cfg: KerasConvnetConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    """Two valid 3x3 convolutions with pooling, then dropout.

    Input: scaled images (N, H, W, C), 10x10 or larger. Output: features (N, F).

    Source:
        "Simple MNIST convnet", keras.io code examples: 34,826 parameters on 28x28 images of 10 classes.
    """
    for block, filters in enumerate((32, 64), start=1):
        x = layers.Conv2D(filters, 3, name=f"conv{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
        x = layers.Activation("relu", name=f"act{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    if cfg.dropout:
        x = FastDropout(cfg.dropout, name="drop")(x)
    return x


def build_lenet5(cfg: LeNet5Config, x: keras.KerasTensor) -> keras.KerasTensor:
    """Convolutions of 6 and 16 filters with average pooling, dense layers of 120 and 84.

    Input: scaled images (N, H, W, C), 12x12 or larger. Output: features (N, 84).

    Source:
        LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", section II.B; without its
        partial connections and radial basis output. Its third convolution is the first dense layer here.
    """
    x = layers.Conv2D(6, 5, padding="same", activation=cfg.activation, name="conv1")(x)
    x = layers.AveragePooling2D(2, name="pool1")(x)
    x = layers.Conv2D(16, 5, activation=cfg.activation, name="conv2")(x)
    x = layers.AveragePooling2D(2, name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation=cfg.activation, name="dense1")(x)
    return layers.Dense(84, activation=cfg.activation, name="dense2")(x)


def build_mlp(cfg: MlpConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    """Dense layers on the flattened image, each with batch norm and dropout if asked for.

    Input: scaled images (N, H, W, C). Output: features (N, F).
    """
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(cfg.dense_units, start=1):
        x = layers.Dense(units, use_bias=not cfg.batch_norm, name=f"dense{i}")(x)
        x = _norm(x, f"norm{i}") if cfg.batch_norm else x
        x = layers.Activation(cfg.activation, name=f"act{i}")(x)
        x = FastDropout(cfg.dropout, name=f"drop{i}")(x) if cfg.dropout else x
    return x


def build_resnet(cfg: ResNetConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    """A 3x3 stem, stages of residual blocks, and the mean over what is left of the image.

    Input: scaled images (N, H, W, C). Output: features (N, filters of the last stage).

    Source:
        He et al. 2016, "Identity Mappings in Deep Residual Networks", fig. 1b: norm and activation come first.
    """
    x = layers.Conv2D(cfg.filters[0], 3, padding="same", use_bias=False, name="stem")(x)
    for stage, filters in enumerate(cfg.filters, start=1):
        for block in range(1, cfg.blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _residual_block(cfg, x, filters, strides, f"stage{stage}_block{block}")
    x = layers.Activation(cfg.activation, name="act")(_norm(x, "norm"))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return FastDropout(cfg.dropout, name="drop")(x) if cfg.dropout else x


def _residual_block(
    cfg: ResNetConfig, x: keras.KerasTensor, filters: int, strides: int, name: str
) -> keras.KerasTensor:
    """Two convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""
    y = layers.Activation(cfg.activation, name=f"{name}_act1")(_norm(x, f"{name}_norm1"))
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, strides, use_bias=False, name=f"{name}_shortcut")(y)
    y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"{name}_conv1")(y)
    y = layers.Activation(cfg.activation, name=f"{name}_act2")(_norm(y, f"{name}_norm2"))
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(y)
    return layers.Add(name=f"{name}_add")([shortcut, y])


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return FusedBatchNormalization(momentum=NORM_MOMENTUM, name=name)(x)


BUILDERS: Mapping[type[ModelConfig], Callable[[Any, keras.KerasTensor], keras.KerasTensor]] = MappingProxyType(
    {
        CnnConfig: build_cnn,
        KerasConvnetConfig: build_keras_convnet,
        LeNet5Config: build_lenet5,
        MlpConfig: build_mlp,
        ResNetConfig: build_resnet,
    }
)
