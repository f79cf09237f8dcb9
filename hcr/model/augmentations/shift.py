"""Random shifts."""

from typing import Annotated, Any

from pydantic import Field

from hcr.model.augmentations import Augment, Augmentation


class Shift(Augmentation):
    """Each image is shifted by whole pixels, drawn uniformly from -pixels to +pixels, down and across."""

    pixels: Annotated[int, Field(ge=1, le=1000, description="largest shift in each direction, in pixels")]

    def build(self) -> Augment:
        import tensorflow as tf

        pixels = self.pixels

        def augment(images: Any, seed: Any) -> Any:
            count, height, width, channels = tf.unstack(tf.shape(images))
            framed = tf.pad(images, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]])
            high, wide = height + 2 * pixels, width + 2 * pixels
            moved = tf.random.stateless_uniform([2, count], seed, 0, 2 * pixels + 1, tf.int32)
            # The index of each shifted image's corner among all pixels of `framed`, and of its pixels from there.
            corner = (tf.range(count) * high + moved[0]) * wide + moved[1]
            within = tf.range(height)[:, tf.newaxis] * wide + tf.range(width)
            index = corner[:, tf.newaxis, tf.newaxis] + within
            return tf.ensure_shape(tf.gather(tf.reshape(framed, [-1, channels]), index), images.shape)

        return augment
