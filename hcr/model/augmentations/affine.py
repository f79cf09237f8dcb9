"""Affine transformations."""

import math
from typing import Annotated, Any

from pydantic import Field

from hcr.config.settings import Fraction
from hcr.model.augmentations import Augment, Augmentation


class Affine(Augmentation):
    """Each image is rotated, sheared, scaled and shifted about its centre, each uniformly within +/- its bound."""

    rotation_degrees: Annotated[float, Field(ge=0, le=180, description="largest rotation, +/-, in degrees")]
    shear_degrees: Annotated[float, Field(ge=0, lt=90, description="largest shear, +/-, in degrees")]
    scale: Annotated[Fraction, Field(description="largest change of size, +/-, as a fraction")]
    shift_pixels: Annotated[float, Field(ge=0, le=1000, description="largest shift in each direction, in pixels")]

    def build(self) -> Augment:
        import tensorflow as tf

        def augment(images: Any, seed: Any) -> Any:
            shape = tf.shape(images)
            count = shape[0]
            drawn = tf.random.stateless_uniform([6, count], seed, -1.0, 1.0)
            angle = drawn[0] * math.radians(self.rotation_degrees)
            shear = tf.tan(drawn[1] * math.radians(self.shear_degrees))
            scale_x, scale_y = 1 + drawn[2] * self.scale, 1 + drawn[3] * self.scale
            # Maps a result's pixel to its source: rotation * shear * scale about the centre, then the shift.
            cos, sin = tf.cos(angle), tf.sin(angle)
            a, b = cos * scale_x, (cos * shear - sin) * scale_y
            c, d = sin * scale_x, (sin * shear + cos) * scale_y
            centre_y, centre_x = (tf.cast(shape[1], tf.float32) - 1) / 2, (tf.cast(shape[2], tf.float32) - 1) / 2
            move_x = centre_x - a * centre_x - b * centre_y + drawn[4] * self.shift_pixels
            move_y = centre_y - c * centre_x - d * centre_y + drawn[5] * self.shift_pixels
            return _project(images, [a, b, move_x, c, d, move_y])

        return augment


def _project(images: Any, rows: list[Any]) -> Any:
    """Transform each image (N, H, W, C) by its own map from result to source (x, y): six coefficients (N,)."""
    import tensorflow as tf

    zeros = tf.zeros_like(rows[0])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([*rows, zeros, zeros], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
