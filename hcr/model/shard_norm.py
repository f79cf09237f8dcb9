"""Batch normalization of a batch that is cut into shards, with the statistics of the whole batch.

Max pooling directly behind it is computed first, on the values before normalization: a rising line in each channel
does not change which value is the largest, and after pooling there are fewer values to normalize. In channels with a
negative scale the line falls; there the values are negated first.

Source:
    Ioffe & Szegedy 2015, "Batch Normalization", section 3, for the gradient; Chan et al. 1983, "Algorithms for
    Computing the Sample Variance", for the variance of parts that are put together.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hcr.model.fast_layers import FusedBatchNormalization


def can_normalize_shards(layer: FusedBatchNormalization, shard: Any) -> bool:
    """True if `layer` is trained on images (n, H, W, C) or features (n, C), over all axes but the last."""
    return bool(layer.trainable and len(shard.shape) in (2, 4))


def normalize_shards(
    layer: FusedBatchNormalization, shards: Sequence[Any], pool: keras.layers.MaxPooling2D | None = None
) -> list[Any]:
    """A training step of `layer`, then `pool`, on the shards of a batch; updates the moving statistics.

    Args:
        layer: normalizes over all axes but the last.
        shards: one or more, (n_i, H, W, C) or (n_i, C); together at least one image.
        pool: a max pooling of images; None: no pooling.

    Returns:
        The shards of the result, in the type of the inputs.
    """
    flat = len(shards[0].shape) == 2
    images = [shard[:, None, None, :] for shard in shards] if flat else list(shards)
    pooling = None if pool is None else _Pooling(pool)
    *results, mean, variance = _normalized(layer.epsilon, pooling)(
        tf.convert_to_tensor(layer.gamma), tf.convert_to_tensor(layer.beta), *images
    )
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + tf.stop_gradient(value) * (1 - layer.momentum))
    return [result[:, 0, 0, :] for result in results] if flat else results


class _Pooling:
    """A max pooling and its gradient."""

    def __init__(self, layer: keras.layers.MaxPooling2D) -> None:
        self._arguments: dict[str, Any] = {
            "ksize": [1, *layer.pool_size, 1],
            "strides": [1, *layer.strides, 1],
            "padding": layer.padding.upper(),
        }

    def __call__(self, values: Any) -> Any:
        return tf.raw_ops.MaxPool(input=values, **self._arguments)

    def gradient(self, values: Any, pooled: Any, gradient: Any) -> Any:
        return tf.raw_ops.MaxPoolGrad(orig_input=values, orig_output=pooled, grad=gradient, **self._arguments)


def _normalized(epsilon: float, pool: _Pooling | None) -> Any:
    """The function of scale, shift and shards that returns the normalized shards, the mean and the variance."""

    def forward(gamma: Any, beta: Any, *shards: Any) -> Any:
        sign = tf.where(gamma < 0, -1.0, 1.0)
        any_negative = tf.reduce_any(gamma < 0)

        def with_sign(values: Any) -> Any:
            if pool is None:
                return values
            return tf.cond(any_negative, lambda: values * tf.cast(sign, values.dtype), lambda: values)

        values = [with_sign(shard) for shard in shards]
        scale = gamma if pool is None else tf.abs(gamma)
        pooled = values if pool is None else [pool(value) for value in values]
        count, mean, variance = _moments(values, epsilon)
        factor = scale * tf.math.rsqrt(variance + epsilon)
        results = [_line(value, factor, beta - factor * mean) for value in pooled]

        def backward(*gradients: Any) -> list[Any]:
            # The last two are of the statistics, which nothing is trained through.
            own = [
                _gradients(gradient, value, scale, mean, variance, epsilon)
                for gradient, value in zip(gradients[:-2], pooled, strict=True)
            ]
            of_scale, of_shift = tf.add_n([one[1] for one in own]), tf.add_n([one[2] for one in own])
            # Through mean and variance, every value changes every result of its channel.
            slope = -factor * tf.math.rsqrt(variance + epsilon) * of_scale / count
            offset = -factor * of_shift / count - slope * mean
            of_shards = []
            for (of_pooled, *_), value, small in zip(own, values, pooled, strict=True):
                of_value = of_pooled if pool is None else pool.gradient(value, small, of_pooled)
                of_shards.append(with_sign(of_value + _line(value, slope, offset)))
            return [of_scale if pool is None else of_scale * sign, of_shift, *of_shards]

        return [*results, mean if pool is None else mean * sign, variance], backward

    return tf.custom_gradient(forward)


def _moments(values: Sequence[Any], epsilon: float) -> tuple[Any, Any, Any]:
    """Number of values per channel, mean and biased variance (C,), float32, over all shards."""
    channels = values[0].shape[-1]
    counts = [tf.cast(tf.size(value) // channels, tf.float32) for value in values]
    count = tf.add_n(counts)
    means, variances = zip(*(_fused(value, channels, epsilon) for value in values), strict=True)
    # The mean of an empty shard is NaN; it counts as 0.
    mean = tf.add_n([tf.math.multiply_no_nan(own, n / count) for own, n in zip(means, counts, strict=True)])
    squares = [
        tf.math.multiply_no_nan(variance, tf.maximum(n - 1, 0)) + tf.math.multiply_no_nan(tf.square(own - mean), n)
        for own, variance, n in zip(means, variances, counts, strict=True)
    ]
    return count, mean, tf.add_n(squares) / count


def _fused(values: Any, channels: int, epsilon: float) -> tuple[Any, Any]:
    """Mean and unbiased variance of one shard, by the fastest operation that has both in float32."""
    _, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=values,
        scale=tf.ones([channels]),
        offset=tf.zeros([channels]),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    )
    return mean, variance


def _line(values: Any, slope: Any, offset: Any) -> Any:
    """`values` times `slope` plus `offset`, both (C,) float32."""
    # Two operations are faster than oneDNN's single one; in bfloat16 they would round twice.
    if values.dtype == tf.float32:
        return tf.nn.bias_add(values * slope, offset)
    zero, one = tf.zeros_like(slope), tf.ones_like(slope)
    return tf.raw_ops.FusedBatchNormV3(
        x=values, scale=slope, offset=offset, mean=zero, variance=one, epsilon=0.0, is_training=False
    )[0]


def _gradients(
    gradient: Any, values: Any, scale: Any, mean: Any, variance: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    """Gradients of values, scale and shift, with mean and variance held fixed."""
    of_values, of_scale, of_shift, *_ = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=gradient,
        x=values,
        scale=scale,
        reserve_space_1=mean,
        reserve_space_2=variance,
        reserve_space_3=tf.zeros_like(scale),
        epsilon=epsilon,
        is_training=False,
    )
    return of_values, of_scale, of_shift
