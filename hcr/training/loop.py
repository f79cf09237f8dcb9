"""The training loop: shuffled epochs, validation after each, best weights kept, resumable after every epoch."""

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from hcr import stopping
from hcr.config.errors import TrainingError
from hcr.config.training import TrainingConfig
from hcr.data.splitting import Subset
from hcr.evaluation.metrics import accuracy, cross_entropy
from hcr.gate.run_config import MONITORS
from hcr.model.augmentations import Augmentation
from hcr.training.chunks import chunks
from hcr.training.predict import predict_probabilities
from hcr.training.steps import TrainingSteps

EpochMetrics = dict[str, float]
Arrays = list[NDArray[Any]]
OnSteps = Callable[["StepsDone"], None]


@dataclass(frozen=True)
class StepsDone:
    """Progress within an epoch.

    Attributes:
        epoch: counted from 1.
        steps, num_steps: steps done, and steps of the epoch.
        loss, accuracy: means over the epoch's images so far.
        images_per_s: training speed of the epoch so far.
    """

    epoch: int
    steps: int
    num_steps: int
    loss: float
    accuracy: float
    images_per_s: float


@dataclass
class TrainingState:
    """The training state after an epoch; training that resumes from it gives bit-identical results.

    Attributes:
        epoch: epochs done.
        history: the metrics of each epoch, by their public names.
        ended_ms: the time at the end of each epoch, in milliseconds since 1970.
        best_epoch: the epoch whose weights are kept, counted from 1; 0 before the first.
        best_value: the monitored metric of that epoch.
        best_weights: the model's weights after that epoch, or their average if weights are averaged.
        best_probabilities: (N, K), predictions of the validation images after that epoch.
        variables: all variables of the model, including the state of its random generators.
        optimizer_variables: all variables of the optimizer, including its step count.
        average: the average of weights; empty if weights are not averaged.
    """

    epoch: int = 0
    history: list[EpochMetrics] = field(default_factory=list)
    ended_ms: list[int] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = math.nan
    best_weights: Arrays = field(default_factory=list)
    best_probabilities: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    variables: Arrays = field(default_factory=list)
    optimizer_variables: Arrays = field(default_factory=list)
    average: Arrays = field(default_factory=list)

    @property
    def best(self) -> EpochMetrics:
        """The metrics of the best epoch."""
        return self.history[self.best_epoch - 1]


def steps_per_epoch(num_images: int, training: TrainingConfig) -> int:
    """Steps in an epoch: `training.steps_per_epoch`, but at most one pass over the images; the last batch may be
    smaller."""
    one_pass = math.ceil(num_images / training.batch_size)
    return min(one_pass, training.steps_per_epoch or one_pass)


def fit(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    train: Subset,
    val: Subset,
    training: TrainingConfig,
    augmentation: Augmentation,
    *,
    monitor: str,
    seed: int,
    state: TrainingState | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
    on_steps: OnSteps | None = None,
) -> TrainingState:
    """Train `model`, and set it to the weights of its best epoch, or of its last if `training.keep` is "last".

    Args:
        model: from `build_model`.
        optimizer: from `build_optimizer`.
        train: training images.
        val: validation images, evaluated after each epoch.
        training: epochs, batch size, label smoothing, patience ...
        augmentation: random changes of training images.
        monitor: a key of MONITORS; the metric for the best epoch and for early stopping.
        seed: determines the order of the images and the augmentation, together with the epoch and the step.
        state: the state to resume from; None: train from the start.
        on_epoch: called after each epoch.
        on_steps: called every few steps with the progress of the epoch.

    Returns:
        The state after the last epoch.

    Raises:
        TrainingError: the loss, a weight or an output is NaN or infinite.
    """
    state = state or TrainingState()
    steps = TrainingSteps(model, optimizer, train.labels, training, augmentation)
    if state.epoch:
        _assign(model.variables, state.variables)
        _assign(optimizer.variables, state.optimizer_variables)
        _assign(steps.average, state.average)
    while state.epoch < training.epochs and not _out_of_patience(state, training):
        epoch = state.epoch + 1
        start = time.perf_counter()
        loss, train_accuracy, seen = _train_epoch(steps, train, training, epoch, seed, on_steps)
        trained = time.perf_counter()
        with steps.averaged_weights():
            probabilities = predict_probabilities(model, val.images)
            weights = model.get_weights()
        if not np.isfinite(probabilities).all():
            raise TrainingError(f"epoch {epoch}: the model's output became NaN; {_REMEDY}")
        metrics = {
            "train/loss": loss,
            "train/accuracy": train_accuracy,
            "val/loss": cross_entropy(probabilities, val.labels),
            "val/accuracy": accuracy(probabilities, val.labels),
            "lr": float(optimizer.learning_rate.numpy()),
            "time/epoch_s": time.perf_counter() - start,
            "time/images_per_s": seen / (trained - start),
        }
        state.epoch = epoch
        state.history.append(metrics)
        state.ended_ms.append(time.time_ns() // 1_000_000)
        better = state.best_epoch == 0 or is_better(metrics[monitor], state.best_value, monitor, training.min_delta)
        if better or training.keep == "last":
            state.best_epoch, state.best_value = epoch, metrics[monitor]
            state.best_weights, state.best_probabilities = weights, probabilities
        state.variables = _values(model.variables)
        state.optimizer_variables = _values(optimizer.variables)
        state.average = _values(steps.average)
        if on_epoch is not None:
            on_epoch(state)
    model.set_weights(state.best_weights)
    return state


_REMEDY = "expected finite numbers; try a lower optimizer.learning_rate, or schedule=cosine with a longer warm-up"


def _train_epoch(
    steps: TrainingSteps,
    train: Subset,
    training: TrainingConfig,
    epoch: int,
    seed: int,
    on_steps: OnSteps | None,
) -> tuple[float, float, int]:
    """Train one epoch; return mean loss and accuracy over its images, as seen in training, and their number."""
    num_steps = steps_per_epoch(len(train), training)
    order = np.random.default_rng([seed, epoch]).permutation(len(train))[: num_steps * training.batch_size]
    start_s = time.perf_counter()
    loss_sum, correct, seen, steps_done = 0.0, 0, 0, 0
    with closing(chunks(train, order, training.batch_size)) as all_chunks:
        for chunk in all_chunks:
            stopping.check()
            first_step = (epoch - 1) * num_steps + steps_done
            losses, sizes, right, is_finite = (np.asarray(value) for value in steps.run(chunk, [seed, first_step]))
            bad = np.flatnonzero(~np.isfinite(losses))
            if len(bad):
                step = steps_done + int(bad[0]) + 1
                raise TrainingError(f"epoch {epoch}, step {step}: the loss became {losses[bad[0]]}; {_REMEDY}")
            if not is_finite:
                step = steps_done + len(losses)
                raise TrainingError(f"epoch {epoch}, by step {step}: weights became NaN or infinite; {_REMEDY}")
            loss_sum += float(np.dot(losses.astype(np.float64), sizes))
            correct += int(right)
            assert sizes.sum() == len(chunk)
            seen += len(chunk)
            steps_done += len(losses)
            if on_steps is not None:
                images_per_s = seen / (time.perf_counter() - start_s)
                on_steps(StepsDone(epoch, steps_done, num_steps, loss_sum / seen, correct / seen, images_per_s))
    return loss_sum / seen, correct / seen, seen


def is_better(value: float, best: float, monitor: str, min_delta: float) -> bool:
    """True if `value` improves on `best` by more than `min_delta`, in the direction of the monitored metric."""
    gain = value - best if MONITORS[monitor] else best - value
    return gain > min_delta


def _out_of_patience(state: TrainingState, training: TrainingConfig) -> bool:
    return training.patience is not None and state.epoch - state.best_epoch >= training.patience


def _values(variables: list[Any]) -> Arrays:
    return [np.array(variable.numpy()) for variable in variables]


def _assign(variables: list[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
