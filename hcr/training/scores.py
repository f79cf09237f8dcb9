"""Predictions and metrics of a run's finished model on validation and test."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from hcr.data.splitting import Splits
from hcr.evaluation.metrics import Evaluation, evaluate
from hcr.training.loop import TrainingState
from hcr.training.predict import predict_probabilities


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Predictions and metrics of the finished model, which is the one that the run keeps.

    With test-time augmentation they differ from the best epoch's metrics in `state`, which are the trained model's.

    Attributes:
        state: the final training state.
        probabilities: (N, K), for "val", and for "test" if it was scored.
        val, test: the metrics; `test` is None if it was not scored.
    """

    state: TrainingState
    probabilities: Mapping[str, NDArray[np.float32]]
    val: Evaluation
    test: Evaluation | None

    @property
    def judged_by(self) -> str:
        """The part whose metrics and pictures the run shows: "test" if it was scored, else "val"."""
        return "val" if self.test is None else "test"

    @property
    def evaluation(self) -> Evaluation:
        """The metrics of the part `judged_by`."""
        return self.val if self.test is None else self.test

    @property
    def best(self) -> Mapping[str, float]:
        """The finished model's value of each metric that a run can monitor: what runs are compared by."""
        return {"val/loss": self.val.loss, "val/accuracy": self.val.accuracy}


def score(
    model: keras.Model, splits: Splits, state: TrainingState, *, with_test: bool, trained: keras.Model | None = None
) -> Scores:
    """Evaluate a finished model on validation, and also on test if `with_test`.

    Args:
        model: from `finished_model`.
        splits: the run's images.
        state: from `fit`.
        with_test: True to score test.
        trained: the model that `fit` trained; None: `model` is that model.
    """
    is_trained = trained is None or trained is model
    # The best epoch's predictions are those of the trained model, already made.
    val_probabilities = state.best_probabilities if is_trained else predict_probabilities(model, splits.val.images)
    probabilities = {"val": val_probabilities}
    val = evaluate(probabilities["val"], splits.val.labels, splits.class_names)
    test = None
    if with_test:
        probabilities["test"] = predict_probabilities(model, splits.test.images)
        test = evaluate(probabilities["test"], splits.test.labels, splits.class_names)
    return Scores(state=state, probabilities=probabilities, val=val, test=test)
