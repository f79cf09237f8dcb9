"""Scores of a trained model: its predictions of validation and test, and how good they are."""

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
    """Predictions of a trained model, and how good they are.

    Attributes:
        state: where its training ended.
        probabilities: (N, K), of "val", and of "test" where that was scored.
        val, test: the scores of each; `test` is None where it was not scored.
    """

    state: TrainingState
    probabilities: Mapping[str, NDArray[np.float32]]
    val: Evaluation
    test: Evaluation | None

    @property
    def judged_by(self) -> str:
        """The images that a run is judged by, and its pictures are of: "test" where it was scored, else "val"."""
        return "val" if self.test is None else "test"

    @property
    def evaluation(self) -> Evaluation:
        """The scores that a run is judged by."""
        return self.val if self.test is None else self.test


def score(model: keras.Model, splits: Splits, state: TrainingState, *, with_test: bool) -> Scores:
    """Evaluate `model`, as `fit` left it, on validation, and on test too if `with_test`."""
    probabilities = {"val": state.best_probabilities}
    val = evaluate(probabilities["val"], splits.val.labels, splits.class_names)
    test = None
    if with_test:
        probabilities["test"] = predict_probabilities(model, splits.test.images)
        test = evaluate(probabilities["test"], splits.test.labels, splits.class_names)
    return Scores(state=state, probabilities=probabilities, val=val, test=test)
