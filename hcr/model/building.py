"""Builds a Keras model (raw pixels 0..255 in, probabilities out) and its optimizer from a config."""

import keras
from keras import layers

from hcr.model.architectures import Architecture
from hcr.model.optimizers import Optimizer
from hcr.model.schedules import Schedule
from hcr.model.settings import pin_keras_settings

SMALLEST = 1e-37  # a probability of 0 counts as this: a normal float32, with a finite logarithm


def build_model(cfg: Architecture, image_shape: tuple[int, ...], num_classes: int, seed: int) -> keras.Model:
    """The architecture between an input and an output layer, with initial weights drawn by `seed`.

    Args:
        cfg: the architecture.
        image_shape: (height, width, channels).
        num_classes: K.
        seed: seeds Python, NumPy and TensorFlow, and so the initializers and dropout.

    Returns:
        A model from uint8 images (N, H, W, C), 0..255, to float32 probabilities (N, K) whose rows sum to 1.
        Its first layer scales to [0, 1].

    Raises:
        ConfigError: as `pin_keras_settings`.
    """
    pin_keras_settings()
    keras.utils.set_random_seed(seed)
    images = keras.Input(image_shape, dtype="uint8", name="images")
    scaled = layers.Rescaling(1 / 255, name="scale")(images)
    features = cfg.build(scaled)
    logits = layers.Dense(num_classes, name="logits")(features)
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(images, probabilities, name=cfg.name)


def with_temperature(model: keras.Model, temperature: float) -> keras.Model:
    """A model with its logits divided by `temperature`; it shares the layers and their weights.

    The division is a layer of Keras' own, in float32, so that the model loads, serves and exports as before. Of a model
    that averages probabilities, the logits are the logarithms of those.

    Args:
        model: of `build_model` or `finished_model`.
        temperature: above 0.
    """
    name = "probabilities"
    if any(layer.name == "logits" for layer in model.layers):
        logits = model.get_layer("logits").output
    else:
        logits, name = keras.ops.log(keras.ops.maximum(model.output, SMALLEST)), "calibrated"
    scaled = layers.Rescaling(1 / temperature, dtype="float32", name="temperature")(logits)
    probabilities = layers.Activation("softmax", dtype="float32", name=name)(scaled)
    return keras.Model(model.input, probabilities, name=model.name)


def build_optimizer(cfg: Optimizer, schedule: Schedule, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer, whose learning rate follows `schedule` over `total_steps` steps."""
    return cfg.build(schedule.build(cfg.learning_rate, total_steps))
