"""One model of several: the mean of their probabilities."""

from collections.abc import Sequence

import keras
from keras import layers


def ensemble_of(members: Sequence[keras.Model]) -> keras.Model:
    """A model that predicts the mean of its members' probabilities (soft vote).

    A member is a layer `member1`, `member2` ..., so that their own layers may have the same names. No layer is hcr's:
    the model loads and exports without it.

    Args:
        members: 2 or more models from uint8 images (N, H, W, C) to probabilities (N, K), of the same shapes; they may
            differ in all else.

    Returns:
        A model from the same images to float32 probabilities, with the members' weights.
    """
    images = keras.Input(members[0].input_shape[1:], dtype="uint8", name="images")
    named = [keras.Model(model.input, model.output, name=f"member{i}") for i, model in enumerate(members, start=1)]
    outputs = [member(images) for member in named]
    # In float32, also if members compute in bfloat16: their softmax gives float32.
    mean = layers.Average(dtype="float32", name="probabilities")(outputs)
    return keras.Model(images, mean, name=f"ensemble_of_{len(members)}")
