"""Elastic deformations."""

import math
from typing import Annotated, Any

from pydantic import Field

from hcr.model.augmentations import Augment, Augmentation


class Elastic(Augmentation):
    """Each image is deformed by a displacement field: smoothed white noise, scaled to a standard deviation.

    Source:
        Simard, Steinkraus & Platt 2003, "Best Practices for Convolutional Neural Networks Applied to Visual
        Document Analysis", section 2.
    """

    displacement_pixels: Annotated[
        float, Field(gt=0, le=1000, description="standard deviation of a pixel's displacement, in pixels")
    ]
    smoothness_pixels: Annotated[
        float, Field(gt=0, le=100, description="distance over which neighbours move together, in pixels")
    ]

    def build(self) -> Augment:
        import tensorflow as tf

        kernel = _gaussian(self.smoothness_pixels)
        # Smoothing scales the noise by the root of the sum of squares of the two-dimensional kernel.
        gain = self.displacement_pixels / float(tf.reduce_sum(kernel**2))

        def augment(images: Any, seed: Any) -> Any:
            shape = tf.shape(images)
            count, height, width = shape[0], shape[1], shape[2]
            margin = kernel.shape[0] // 2  # the field is as strong at the edge as in the middle
            noise = tf.random.stateless_normal([count * 2, height + 2 * margin, width + 2 * margin, 1], seed)
            field = tf.nn.conv2d(noise, tf.reshape(kernel, [-1, 1, 1, 1]), 1, "VALID")
            field = tf.nn.conv2d(field, tf.reshape(kernel, [1, -1, 1, 1]), 1, "VALID") * gain
            return _warp(images, tf.reshape(field, [count, 2, height, width]))

        return augment


def _gaussian(sigma: float) -> Any:
    """A normalised Gaussian kernel over +/- three standard deviations."""
    import tensorflow as tf

    reach = math.ceil(3 * sigma)
    values = tf.exp(-0.5 * (tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2)
    return values / tf.reduce_sum(values)


def _warp(images: Any, field: Any) -> Any:
    """Sample `images` (N, H, W, C) bilinearly at each pixel plus `field` (N, 2, H, W), down and across."""
    import tensorflow as tf

    shape = tf.shape(images)
    height, width = shape[1], shape[2]
    padded = tf.pad(tf.cast(images, tf.float32), [[0, 0], [1, 1], [1, 1], [0, 0]])  # a black frame
    rows = tf.cast(tf.range(height), tf.float32)[tf.newaxis, :, tf.newaxis] + 1 + field[:, 0]
    columns = tf.cast(tf.range(width), tf.float32)[tf.newaxis, tf.newaxis, :] + 1 + field[:, 1]
    rows = tf.clip_by_value(rows, 0.0, tf.cast(height, tf.float32) + 0.999)
    columns = tf.clip_by_value(columns, 0.0, tf.cast(width, tf.float32) + 0.999)
    top, left = tf.floor(rows), tf.floor(columns)
    down, across = (rows - top)[..., tf.newaxis], (columns - left)[..., tf.newaxis]
    top, left = tf.cast(top, tf.int32), tf.cast(left, tf.int32)

    def at(row: Any, column: Any) -> Any:
        return tf.gather_nd(padded, tf.stack([row, column], axis=-1), batch_dims=1)

    upper = at(top, left) * (1 - across) + at(top, left + 1) * across
    lower = at(top + 1, left) * (1 - across) + at(top + 1, left + 1) * across
    return tf.cast(tf.round(upper * (1 - down) + lower * down), tf.uint8)
