"""The training loop: shuffled steps in one traced function, validation after each epoch, best weights kept."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hcr.config.errors import TrainingError
from hcr.config.gate import MONITORS
from hcr.config.training import TrainingConfig
from hcr.data.splits import Subset
from hcr.evaluation.metrics import accuracy, cross_entropy
from hcr.training.predict import predict_probabilities

EpochMetrics = dict[str, float]
Arrays = list[NDArray[Any]]
OnSteps = Callable[[int, int, int, float, float], None]  # epoch, steps done, steps in all, loss, accuracy

STEPS_PER_CALL = 16  # steps in one call of the traced function: often enough for a display, too rare to cost


@dataclass
class TrainingState:
    """Where training stands after an epoch; enough to go on from there to the bit.

    Attributes:
        epoch: epochs done.
        history: the metrics of each epoch, by their public names.
        best_epoch: counted from 1; 0 before the first.
        best_value: the monitored metric there.
        best_weights: the model's weights there.
        variables: every variable of the model, the state of its random streams included.
        optimizer_variables: every variable of the optimizer, its step count included.
    """

    epoch: int = 0
    history: list[EpochMetrics] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = math.nan
    best_weights: Arrays = field(default_factory=list)
    variables: Arrays = field(default_factory=list)
    optimizer_variables: Arrays = field(default_factory=list)

    @property
    def best(self) -> EpochMetrics:
        """The metrics of the best epoch."""
        return self.history[self.best_epoch - 1]


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Steps in an epoch; the last one takes what is left."""
    return math.ceil(num_images / batch_size)


def fit(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    train: Subset,
    val: Subset,
    training: TrainingConfig,
    *,
    monitor: str,
    seed: int,
    state: TrainingState | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
    on_steps: OnSteps | None = None,
) -> TrainingState:
    """Train `model`, and leave it with the weights of its best epoch.

    Args:
        model: as `build_model` makes it.
        optimizer: as `build_optimizer` makes it.
        train: images to learn from.
        val: images to measure each epoch on.
        training: epochs, batch size, label smoothing, patience.
        monitor: a key of MONITORS; picks the best epoch and stops early.
        seed: decides the order of the images, with the epoch's number.
        state: where to go on from; None starts.
        on_epoch: called after each epoch.
        on_steps: called every few steps with the epoch (from 1), the steps done in it, the steps it has, and its
            loss and accuracy so far.

    Returns:
        The state after the last epoch.

    Raises:
        TrainingError: the loss is no longer a finite number.
    """
    state = state or TrainingState()
    optimizer.build(model.trainable_variables)
    if state.epoch:
        _assign(model.variables, state.variables)
        _assign(optimizer.variables, state.optimizer_variables)
    run_steps = _compile_steps(model, optimizer, train, training)
    while state.epoch < training.epochs and not _out_of_patience(state, training):
        epoch = state.epoch + 1
        start = time.perf_counter()
        loss, train_accuracy = _train_epoch(run_steps, len(train), training.batch_size, epoch, seed, on_steps)
        trained = time.perf_counter()
        probabilities = predict_probabilities(model, val.images)
        if not np.isfinite(probabilities).all():
            raise TrainingError(f"epoch {epoch}: the model's output became NaN; {_REMEDY}")
        metrics = {
            "train/loss": loss,
            "train/accuracy": train_accuracy,
            "val/loss": cross_entropy(probabilities, val.labels),
            "val/accuracy": accuracy(probabilities, val.labels),
            "lr": float(optimizer.learning_rate.numpy()),
            "time/epoch_s": time.perf_counter() - start,
            "time/images_per_s": len(train) / (trained - start),
        }
        _advance(state, metrics, monitor, training.min_delta, model, optimizer)
        if on_epoch is not None:
            on_epoch(state)
    model.set_weights(state.best_weights)
    return state


_REMEDY = "expected finite numbers; try a lower optimizer.learning_rate, or schedule=cosine with a longer warm-up"


def _train_epoch(
    run_steps: Callable[[Any], Any],
    num_images: int,
    batch_size: int,
    epoch: int,
    seed: int,
    on_steps: OnSteps | None,
) -> tuple[float, float]:
    """Mean loss and accuracy over the epoch's images, measured as they were trained on."""
    order = np.random.default_rng([seed, epoch]).permutation(num_images).astype(np.int32)
    num_steps = steps_per_epoch(num_images, batch_size)
    loss_sum, correct, seen, steps_done = 0.0, 0, 0, 0
    for start in range(0, num_images, batch_size * STEPS_PER_CALL):
        part = order[start : start + batch_size * STEPS_PER_CALL]
        losses, sizes, right = (np.asarray(value) for value in run_steps(part))
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad):
            step = steps_done + int(bad[0]) + 1
            raise TrainingError(f"epoch {epoch}, step {step}: the loss became {losses[bad[0]]}; {_REMEDY}")
        loss_sum += float(np.dot(losses.astype(np.float64), sizes))
        correct += int(right)
        seen += len(part)
        steps_done += len(losses)
        if on_steps is not None:
            on_steps(epoch, steps_done, num_steps, loss_sum / seen, correct / seen)
    return loss_sum / seen, correct / seen


def _compile_steps(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, train: Subset, training: TrainingConfig
) -> Callable[[Any], Any]:
    """A traced function that trains on the images of a list of indices, a batch after the other.

    It takes (n,) int32 and returns the loss of each step, the images in each, and how many were right in all.
    """
    images = tf.constant(train.images)
    labels = tf.constant(train.labels.astype(np.int32))
    num_classes = model.output_shape[-1]
    batch_size = training.batch_size
    loss_function = keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def run_steps(order: Any) -> Any:
        steps = (tf.size(order) + batch_size - 1) // batch_size
        losses = tf.TensorArray(tf.float32, steps)
        sizes = tf.TensorArray(tf.int32, steps)
        right = tf.constant(0)
        for step in tf.range(steps):
            index = order[step * batch_size : (step + 1) * batch_size]
            batch, classes = tf.gather(images, index), tf.gather(labels, index)
            with tf.GradientTape() as tape:
                probabilities = model(batch, training=True)
                loss = loss_function(tf.one_hot(classes, num_classes), probabilities)
                total = tf.add_n([loss, *model.losses])
            gradients = tape.gradient(total, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            losses = losses.write(step, loss)
            sizes = sizes.write(step, tf.size(index))
            right += tf.reduce_sum(tf.cast(tf.argmax(probabilities, 1, tf.int32) == classes, tf.int32))
        return losses.stack(), sizes.stack(), right

    return run_steps  # type: ignore[no-any-return]


def _advance(
    state: TrainingState,
    metrics: EpochMetrics,
    monitor: str,
    min_delta: float,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Take an epoch into `state`."""
    state.epoch += 1
    state.history.append(metrics)
    if state.best_epoch == 0 or is_better(metrics[monitor], state.best_value, monitor, min_delta):
        state.best_epoch, state.best_value = state.epoch, metrics[monitor]
        state.best_weights = model.get_weights()
    state.variables = [np.array(variable.numpy()) for variable in model.variables]
    state.optimizer_variables = [np.array(variable.numpy()) for variable in optimizer.variables]


def is_better(value: float, best: float, monitor: str, min_delta: float) -> bool:
    """Whether `value` improves on `best` by more than `min_delta`, in the monitored metric's own direction."""
    gain = value - best if MONITORS[monitor] else best - value
    return gain > min_delta


def _out_of_patience(state: TrainingState, training: TrainingConfig) -> bool:
    return training.patience is not None and state.epoch - state.best_epoch >= training.patience


def _assign(variables: list[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
