"""What a run keeps of its trained model: the model itself, or the model with test-time augmentation around it."""

import keras
from keras import layers

from hcr.config.training import TrainingConfig
from hcr.model.fast_layers import with_keras_layers

# Rows and columns to crop above and to the left of an image framed by one pixel: each shows the image shifted by one.
SHIFTS = {"down": (0, 1), "up": (2, 1), "right": (1, 0), "left": (1, 2)}


def finished_model(model: keras.Model, training: TrainingConfig) -> keras.Model:
    """The model that a run scores and saves, made of the trained one without training anything.

    Args:
        model: maps uint8 images (N, H, W, C) to float32 probabilities (N, K).
        training: its settings.

    Returns:
        A model of the same inputs and outputs with the same weights; `model` itself if no setting changes it.
    """
    # Keras' layers first: `clone_model` of some versions leaves models within models as they are.
    return with_shifts(with_keras_layers(model)) if training.tta == "shift" else model


def with_shifts(model: keras.Model) -> keras.Model:
    """`model`, averaged over each image and the image shifted by one pixel down, up, right and left.

    A shift repeats the image's border, so that it suits any background. All layers are Keras' own: the model loads and
    exports without hcr.

    Args:
        model: maps uint8 images (N, H, W, C) to probabilities (N, K).

    Returns:
        A model from the same images to float32 probabilities, whose weights are those of `model`. It predicts five
        times per image.
    """
    images = keras.Input(model.input_shape[1:], dtype="uint8", name="images")
    framed = _framed(images)
    views = [images]
    for name, (top, left) in SHIFTS.items():
        views.append(layers.Cropping2D(((top, 2 - top), (left, 2 - left)), name=f"shifted_{name}")(framed))
    # In float32, whatever the precision of the model: the outputs of its softmax are float32 too.
    mean = layers.Average(dtype="float32", name="probabilities")([model(view) for view in views])
    return keras.Model(images, mean, name=f"{model.name}_tta")


def _framed(images: keras.KerasTensor) -> keras.KerasTensor:
    """Images (N, H, W, C) in a frame of one pixel that repeats their border: (N, H + 2, W + 2, C).

    Made of crops, since exporters lack `pad` with a repeated border, or convert it to many operations.
    """
    height, width = images.shape[1:3]
    top = layers.Cropping2D(((0, height - 1), (0, 0)), name="top_row")(images)
    bottom = layers.Cropping2D(((height - 1, 0), (0, 0)), name="bottom_row")(images)
    high = layers.Concatenate(axis=1, name="with_rows")([top, images, bottom])
    left = layers.Cropping2D(((0, 0), (0, width - 1)), name="left_column")(high)
    right = layers.Cropping2D(((0, 0), (width - 1, 0)), name="right_column")(high)
    return layers.Concatenate(axis=2, name="framed")([left, high, right])
