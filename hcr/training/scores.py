"""Predictions and metrics of a trained model on validation and test."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from hcr.data.splitting import Splits
from hcr.evaluation.calibration import Calibration
from hcr.evaluation.metrics import Evaluation, evaluate
from hcr.training.loop import TrainingState
from hcr.training.predict import predict_probabilities


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Predictions and metrics of a trained model, calibrated if `training.calibrate` asks for it.

    Attributes:
        state: the final training state; its metrics and predictions are those of the model before its calibration.
        probabilities: (N, K), for "val", and for "test" if it was scored.
        val, test: the metrics; `test` is None if it was not scored.
        calibration: None if the model was not calibrated.
    """

    state: TrainingState
    probabilities: Mapping[str, NDArray[np.float32]]
    val: Evaluation
    test: Evaluation | None
    calibration: Calibration | None = None

    @property
    def judged_by(self) -> str:
        """The part whose metrics and pictures the run shows: "test" if it was scored, else "val"."""
        return "val" if self.test is None else "test"

    @property
    def evaluation(self) -> Evaluation:
        """The metrics of the part `judged_by`."""
        return self.val if self.test is None else self.test


def score(
    model: keras.Model,
    splits: Splits,
    state: TrainingState,
    *,
    with_test: bool,
    calibration: Calibration | None = None,
) -> Scores:
    """Evaluate `model`, trained by `fit`, on validation, and also on test if `with_test`.

    Args:
        calibration: of `model`, if it was calibrated after `fit`: then its predictions are not those that `fit` has.
    """
    probabilities = {"val": state.best_probabilities}
    if calibration is not None and calibration.temperature != 1:
        probabilities["val"] = predict_probabilities(model, splits.val.images)
    val = evaluate(probabilities["val"], splits.val.labels, splits.class_names)
    test = None
    if with_test:
        probabilities["test"] = predict_probabilities(model, splits.test.images)
        test = evaluate(probabilities["test"], splits.test.labels, splits.class_names)
    return Scores(state=state, probabilities=probabilities, val=val, test=test, calibration=calibration)
