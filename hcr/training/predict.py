"""Prediction in slices, with a function that is traced once per model."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hcr.data.views import AnyImages
from hcr.training.shards import cut

SLICE = 1_000  # images per call: large enough to keep the cores busy, small enough for the caches
PARTS = 4  # of a slice, computed in parallel, on a thread each; fixed, so that threads do not change the results

_compiled: "WeakKeyDictionary[keras.Model, dict[int, Callable[[Any], Any]]]" = WeakKeyDictionary()


def predict_probabilities(model: keras.Model, images: AnyImages) -> NDArray[np.float32]:
    """Predict class probabilities.

    Args:
        model: maps uint8 images to probabilities over K classes.
        images: (N, H, W, C), 0..255; of a view, only SLICE images are in memory at a time.

    Returns:
        (N, K), rows sum to 1.
    """
    probabilities = np.empty((len(images), model.output_shape[-1]), np.float32)
    for start in range(0, len(images), SLICE):
        own = images[start : start + SLICE]
        # TensorFlow's convolution of no image may have a wrong shape.
        predict = _predict_function(model, PARTS if len(own) >= PARTS else 1)
        probabilities[start : start + SLICE] = predict(own).numpy()
    return probabilities


def _predict_function(model: keras.Model, num_parts: int) -> Callable[[Any], Any]:
    """The traced function of a model, cached as long as the model lives."""
    compiled = _compiled.setdefault(model, {})
    if num_parts not in compiled:
        images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
        # A strong reference to the model, the key of the cache, would keep it alive forever.
        weak = ref(model)

        def predict(batch: Any) -> Any:
            alive = weak()
            assert alive is not None
            return tf.concat([alive(part, training=False) for part in cut(batch, num_parts)], 0)

        compiled[num_parts] = tf.function(predict, input_signature=[images], autograph=False)
    return compiled[num_parts]
