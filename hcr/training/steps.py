"""The training step, traced once: augment, forward, backward, update, average."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hcr.config.training import TrainingConfig
from hcr.model.augmentations import Augmentation
from hcr.training.chunks import Chunk
from hcr.training.shards import call_on_shards, cut


class TrainingSteps:
    """Training steps of one model.

    Args:
        model: the model to train.
        optimizer: its optimizer, which is built here.
        labels: (N,), of the training images, for class weights.
        training: batch size, label smoothing, class weights, decay of the weight average.
        augmentation: random changes of each batch.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        labels: NDArray[np.int64],
        training: TrainingConfig,
        augmentation: Augmentation,
    ) -> None:
        optimizer.build(model.trainable_variables)
        self._model = model
        self._optimizer = optimizer
        self._num_classes = int(model.output_shape[-1])
        self._batch_size = training.batch_size
        self._num_shards = training.num_shards
        # On a GPU a batch stays whole: TensorFlow has no deterministic gradient there for how shards are normalized.
        self._is_whole = training.device == "gpu"
        # A sum, since each shard has its own; divided by the images of the batch it is Keras' default, the mean.
        self._loss = keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing, reduction="sum")
        self._augment = augmentation.build()
        self._class_weights = None
        if training.class_weights == "balanced":
            self._class_weights = tf.constant(balanced_class_weights(labels, self._num_classes))
        self._decay = training.average_decay
        # The average of all weights, including those of batch norm; empty without `average_decay`.
        self.average = [tf.Variable(weight, trainable=False) for weight in model.weights] if self._decay else []
        self._image_shape = model.input_shape[1:]
        self._traced: dict[int, Any] = {}  # by the number of shards

    def run(self, chunk: Chunk, seed_and_step: list[int]) -> Any:
        """Train on the images of `chunk`, batch after batch.

        Args:
            chunk: images and labels.
            seed_and_step: the run's seed, and the number of the first of these steps, counted from the run's start.

        Returns:
            The loss of each step, the number of images in each, the number of images classified correctly, and
            whether all weights are finite afterwards.
        """
        # A last batch of fewer images than shards is not cut: a convolution of no image may have a wrong shape.
        last = len(chunk) % self._batch_size
        if not 0 < last < self._num_shards:
            return self._run(chunk, seed_and_step, self._num_shards)
        rest = Chunk(chunk.images[-last:], chunk.labels[-last:])
        if len(chunk) == last:
            return self._run(rest, seed_and_step, 1)
        seed, step = seed_and_step
        begin = Chunk(chunk.images[:-last], chunk.labels[:-last])
        losses, sizes, right, is_finite = self._run(begin, [seed, step], self._num_shards)
        own = self._run(rest, [seed, step + len(losses)], 1)
        return tf.concat([losses, own[0]], 0), tf.concat([sizes, own[1]], 0), right + own[2], is_finite & own[3]

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Give the model the average of its weights, if there is one, within the `with`."""
        if not self.average:
            yield
            return
        own = self._model.get_weights()
        self._model.set_weights([variable.numpy() for variable in self.average])
        yield
        self._model.set_weights(own)

    def _run(self, chunk: Chunk, seed_and_step: list[int], num_shards: int) -> Any:
        if num_shards not in self._traced:
            self._traced[num_shards] = tf.function(
                partial(self._steps, num_shards),
                input_signature=[  # any number of images, so that no chunk is traced again
                    tf.TensorSpec([None, *self._image_shape], tf.uint8),
                    tf.TensorSpec([None], tf.int32),
                    tf.TensorSpec([2], tf.int64),
                ],
                autograph=False,  # slower than tracing, and not needed: the loop is a tf.while_loop
            )
        return self._traced[num_shards](chunk.images, chunk.labels, np.array(seed_and_step, np.int64))

    def _steps(self, num_shards: int, images: Any, labels: Any, seed_and_step: Any) -> Any:
        steps = (tf.size(labels) + self._batch_size - 1) // self._batch_size

        def one_more(step: Any, right: Any, losses: Any, sizes: Any) -> Any:
            own = slice(step * self._batch_size, (step + 1) * self._batch_size)
            batch, classes = images[own], labels[own]
            number = seed_and_step + tf.cast(tf.stack([0, step]), tf.int64)
            loss, hits = self._step(batch, classes, number, num_shards)
            return step + 1, right + hits, losses.write(step, loss), sizes.write(step, tf.size(classes))

        # In one loop, TensorFlow can augment later batches during a step: augmentation does not depend on weights.
        _, right, losses, sizes = tf.while_loop(
            lambda step, *_: step < steps,
            one_more,
            (tf.constant(0), tf.constant(0), tf.TensorArray(tf.float32, steps), tf.TensorArray(tf.int32, steps)),
        )
        # oneDNN's pooling and activation turn NaN into 0, so NaN weights may not show in the loss.
        sums = [tf.reduce_sum(tf.abs(weight)) for weight in self._model.trainable_weights]
        return losses.stack(), sizes.stack(), right, tf.reduce_all(tf.math.is_finite(tf.stack(sums)))

    def _step(self, batch: Any, classes: Any, number: Any, num_shards: int) -> Any:
        if self._augment is not None:
            batch = self._augment(batch, number)
        shards = [cut(value, num_shards) for value in (batch, classes)]
        with tf.GradientTape() as tape:
            if self._is_whole:
                probabilities = [self._model(batch, training=True)]
            else:
                probabilities = call_on_shards(self._model, shards[0])
            losses = [self._loss_of(*own) for own in zip(shards[1], probabilities, strict=True)]
            loss = tf.add_n(losses) / tf.cast(tf.size(classes), tf.float32)
            total = tf.add_n([loss, *self._model.losses])
        gradients = tape.gradient(total, self._model.trainable_variables)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        self._update_average(number[1])
        hits = [
            tf.reduce_sum(tf.cast(tf.argmax(own, 1, tf.int32) == right, tf.int32))
            for own, right in zip(probabilities, shards[1], strict=True)
        ]
        return loss, tf.add_n(hits)

    def _loss_of(self, classes: Any, probabilities: Any) -> Any:
        """The sum of the losses of a shard's images."""
        weights = None if self._class_weights is None else tf.gather(self._class_weights, classes)
        return self._loss(tf.one_hot(classes, self._num_classes), probabilities, weights)

    def _update_average(self, step: Any) -> None:
        """Update the exponential moving average; its decay is smaller in the first steps, to forget the initial
        weights."""
        if not self.average:
            return
        done = tf.cast(step, tf.float32) + 1
        decay = tf.minimum(tf.constant(self._decay, tf.float32), (1 + done) / (10 + done))
        for average, weight in zip(self.average, self._model.weights, strict=True):
            average.assign(decay * average + (1 - decay) * tf.cast(weight, tf.float32))


def balanced_class_weights(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """Weights (K,) that give every class the same total weight; the mean weight of the images is 1.

    Args:
        labels: (N,), integers in [0, K); every class occurs.
        num_classes: K.

    Source:
        King & Zeng 2001, "Logistic Regression in Rare Events Data", section 3: N / (K * images of the class).
    """
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * counts)).astype(np.float32)
