"""Training images, changed at random: whole batches at once, in the graph that trains on them.

What is drawn is decided by a seed alone, so an epoch can be repeated, and nothing is kept between steps.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from hcr.config.augmentation import AffineConfig, AugmentationConfig, ElasticConfig, ShiftConfig

Augment = Callable[[Any, Any], Any]


def build_augmentation(cfg: AugmentationConfig) -> Augment | None:
    """What `cfg` does to a batch, or None where it does nothing.

    Returns:
        A function of images (N, H, W, C) uint8 and a seed (2,) int64, that gives images of the same shape and dtype.
        What moves in from outside is black.
    """
    builder = BUILDERS[type(cfg)]
    return None if builder is None else builder(cfg)


def shift(cfg: ShiftConfig) -> Augment:
    """Each image moved by whole pixels, uniformly from -pixels to +pixels down and across."""

    pixels = cfg.pixels

    def augment(images: Any, seed: Any) -> Any:
        count, height, width, channels = tf.unstack(tf.shape(images))
        framed = tf.pad(images, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]])
        high, wide = height + 2 * pixels, width + 2 * pixels
        moved = tf.random.stateless_uniform([2, count], seed, 0, 2 * pixels + 1, tf.int32)
        # Where the corner of each image lies among all pixels of the framed ones, and where its pixels lie from there.
        corner = (tf.range(count) * high + moved[0]) * wide + moved[1]
        within = tf.range(height)[:, tf.newaxis] * wide + tf.range(width)
        index = corner[:, tf.newaxis, tf.newaxis] + within
        return tf.ensure_shape(tf.gather(tf.reshape(framed, [-1, channels]), index), images.shape)

    return augment


def affine(cfg: AffineConfig) -> Augment:
    """Each image turned, sheared, scaled and moved about its centre, each uniformly up to its bound either way."""

    def augment(images: Any, seed: Any) -> Any:
        shape = tf.shape(images)
        count = shape[0]
        drawn = tf.random.stateless_uniform([6, count], seed, -1.0, 1.0)
        angle = drawn[0] * math.radians(cfg.rotation_degrees)
        shear = tf.tan(drawn[1] * math.radians(cfg.shear_degrees))
        scale_x, scale_y = 1 + drawn[2] * cfg.scale, 1 + drawn[3] * cfg.scale
        # Where each pixel of the result comes from: turn * shear * scale, about the centre, then the shift.
        cos, sin = tf.cos(angle), tf.sin(angle)
        a, b = cos * scale_x, (cos * shear - sin) * scale_y
        c, d = sin * scale_x, (sin * shear + cos) * scale_y
        centre_y, centre_x = (tf.cast(shape[1], tf.float32) - 1) / 2, (tf.cast(shape[2], tf.float32) - 1) / 2
        move_x = centre_x - a * centre_x - b * centre_y + drawn[4] * cfg.shift_pixels
        move_y = centre_y - c * centre_x - d * centre_y + drawn[5] * cfg.shift_pixels
        return _project(images, [a, b, move_x, c, d, move_y])

    return augment


def elastic(cfg: ElasticConfig) -> Augment:
    """Each image bent by a field of displacements: white noise, smoothed, and scaled to its standard deviation."""
    kernel = _gaussian(cfg.smoothness_pixels)
    # Smoothing shrinks white noise by the root of the sum of squares of the (two-dimensional) kernel.
    gain = cfg.displacement_pixels / float(tf.reduce_sum(kernel**2))

    def augment(images: Any, seed: Any) -> Any:
        shape = tf.shape(images)
        count, height, width = shape[0], shape[1], shape[2]
        margin = kernel.shape[0] // 2  # so that the field is as strong at the edge as in the middle
        noise = tf.random.stateless_normal([count * 2, height + 2 * margin, width + 2 * margin, 1], seed)
        field = tf.nn.conv2d(noise, tf.reshape(kernel, [-1, 1, 1, 1]), 1, "VALID")
        field = tf.nn.conv2d(field, tf.reshape(kernel, [1, -1, 1, 1]), 1, "VALID") * gain
        return _warp(images, tf.reshape(field, [count, 2, height, width]))

    return augment


BUILDERS: Mapping[type[AugmentationConfig], Callable[[Any], Augment] | None] = MappingProxyType(
    {AugmentationConfig: None, ShiftConfig: shift, AffineConfig: affine, ElasticConfig: elastic}
)


def _project(images: Any, rows: list[Any]) -> Any:
    """Each image (N, H, W, C) through a map of its own: six coefficients (N,), from a result's (x, y) to a source's."""
    zeros = tf.zeros_like(rows[0])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([*rows, zeros, zeros], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _gaussian(sigma: float) -> Any:
    """A normalised kernel over three standard deviations either way."""
    reach = math.ceil(3 * sigma)
    values = tf.exp(-0.5 * (tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2)
    return values / tf.reduce_sum(values)


def _warp(images: Any, field: Any) -> Any:
    """Bilinear samples of `images` (N, H, W, C) at each pixel plus `field` (N, 2, H, W), down and across."""
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
