"""Predictions and metrics of the model that a run keeps, on validation and test."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcr.data.splitting import Splits
from hcr.evaluation.calibration import Calibration
from hcr.evaluation.metrics import Evaluation, evaluate
from hcr.training.finished import Finished
from hcr.training.loop import TrainingState
from hcr.training.predict import predict_probabilities


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Predictions and metrics of the model that a run keeps.

    With test-time augmentation or calibration they differ from the best epoch's metrics in `state`, which are the
    trained model's.

    Attributes:
        state: the final training state.
        probabilities: (N, K), for "val", and for "test" if it was scored.
        val, test: the metrics; `test` is None if it was not scored.
        uncalibrated: (N, K), of "val", before a temperature.
        best: the value of each metric that a run can monitor, before a temperature: what runs are compared by.
        calibration: None if the model was not calibrated.
    """

    state: TrainingState
    probabilities: Mapping[str, NDArray[np.float32]]
    val: Evaluation
    test: Evaluation | None
    uncalibrated: NDArray[np.float32]
    best: Mapping[str, float]
    calibration: Calibration | None = None

    @property
    def judged_by(self) -> str:
        """The part whose metrics and pictures the run shows: "test" if it was scored, else "val"."""
        return "val" if self.test is None else "test"

    @property
    def evaluation(self) -> Evaluation:
        """The metrics of the part `judged_by`."""
        return self.val if self.test is None else self.test


def score(finished: Finished, splits: Splits, state: TrainingState, *, with_test: bool) -> Scores:
    """Evaluate the model that a run keeps on validation, and also on test if `with_test`."""
    before = evaluate(finished.uncalibrated, splits.val.labels, splits.class_names)
    probabilities, val = {"val": finished.uncalibrated}, before
    if finished.calibration is not None and finished.calibration.temperature != 1:
        probabilities["val"] = predict_probabilities(finished.model, splits.val.images)
        val = evaluate(probabilities["val"], splits.val.labels, splits.class_names)
    test = None
    if with_test:
        probabilities["test"] = predict_probabilities(finished.model, splits.test.images)
        test = evaluate(probabilities["test"], splits.test.labels, splits.class_names)
    return Scores(
        state=state,
        probabilities=probabilities,
        val=val,
        test=test,
        uncalibrated=finished.uncalibrated,
        best={"val/loss": before.loss, "val/accuracy": before.accuracy},
        calibration=finished.calibration,
    )
