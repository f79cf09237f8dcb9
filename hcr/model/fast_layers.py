"""Keras layers with faster training steps, and their conversion back to plain Keras layers."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

# With Keras' default of 0.99 the initial statistics last some 500 steps, more than small data sets train.
NORM_MOMENTUM = 0.9


def batch_norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Batch normalization over all axes but the last."""
    return FusedBatchNormalization(momentum=NORM_MOMENTUM, name=name)(x)


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with TensorFlow's fused operation as its training step on images.

    Keras computes mean, variance and result one after the other, and in float32 even in a bfloat16 model; that takes
    longer than the convolution before it. The result is the same: the biased variance normalises the inputs and updates
    the moving variance.

    Raises:
        ValueError: it has no scale or no shift, or normalises over other axes than all but the last.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not (self.scale and self.center and self.axis == -1):
            raise ValueError("FusedBatchNormalization: expected scale=True, center=True and axis=-1")

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `inputs`, (N, H, W, C) or (N, C), over all axes but the last."""
        if not (training and self.trainable and mask is None and len(inputs.shape) == 4):
            return super().call(inputs, training=training, mask=mask)
        result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The operation returns the unbiased variance.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return result


class FastDropout(keras.layers.Dropout):
    """Keras' layer, but it draws 16 random bits per value instead of a 32-bit float.

    The rate is rounded to 1/65,536; kept values are scaled by the rounded rate.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop some of `inputs`, (N, ...), while training."""
        if not training or self.rate == 0:
            return inputs
        return self._dropped(inputs, self._kept(tf.shape(inputs)))

    def drop_shards(self, shards: Sequence[Any]) -> list[Any]:
        """Drop the values of a training batch, cut into `shards` (n_i, ...), that `call` would drop."""
        if self.rate == 0:
            return list(shards)
        rows = [tf.shape(shard)[0] for shard in shards]
        kept = self._kept(tf.concat([[tf.add_n(rows)], tf.shape(shards[0])[1:]], 0))
        own = tf.split(kept, rows, num=len(rows)) if len(rows) > 1 else [kept]
        return [self._dropped(shard, mask) for shard, mask in zip(shards, own, strict=True)]

    @property
    def _threshold(self) -> int:
        return min(round(float(self.rate) * 2**16), 2**16 - 1)

    def _kept(self, shape: Any) -> Any:
        """Draw which values are kept, as booleans of `shape`."""
        size = tf.reduce_prod(shape)
        bits = tf.random.stateless_uniform(
            [(size + 1) // 2], self.seed_generator.next(), minval=None, maxval=None, dtype=tf.uint32
        )
        halves = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:size]
        return tf.reshape(halves >= tf.constant(self._threshold, tf.uint16), shape)

    def _dropped(self, inputs: Any, kept: Any) -> Any:
        scale = tf.cast(2**16 / (2**16 - self._threshold), inputs.dtype)
        return inputs * (tf.cast(tf.reshape(kept, tf.shape(inputs)), inputs.dtype) * scale)


KERAS_LAYERS = {FusedBatchNormalization: keras.layers.BatchNormalization, FastDropout: keras.layers.Dropout}


def with_keras_layers(model: keras.Model) -> keras.Model:
    """The same model, including its weights, with Keras' own layers only, so that it loads without hcr."""

    def keras_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        return KERAS_LAYERS.get(type(layer), type(layer)).from_config(layer.get_config())

    plain = keras.models.clone_model(model, clone_function=keras_layer)
    plain.set_weights(model.get_weights())
    return plain
