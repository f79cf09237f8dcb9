"""What a run keeps of its trained model: with test-time augmentation, calibrated, or as it is."""

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from hcr.config.training import TrainingConfig
from hcr.data.splitting import Subset
from hcr.evaluation.calibration import Calibration
from hcr.model.finishing import finished_model
from hcr.training.calibrating import calibrated
from hcr.training.loop import TrainingState
from hcr.training.predict import predict_probabilities


@dataclass(frozen=True)
class Finished:
    """The model that a run keeps.

    Attributes:
        model: maps uint8 images (N, H, W, C) to float32 probabilities (N, K).
        uncalibrated: (N, K), its probabilities of validation before a temperature: what runs are compared by.
        calibration: None if the config does not ask for it.
    """

    model: keras.Model
    uncalibrated: NDArray[np.float32]
    calibration: Calibration | None


def finish(model: keras.Model, val: Subset, state: TrainingState, training: TrainingConfig, *, seed: int) -> Finished:
    """Make the model that a run keeps of the trained one; nothing is trained.

    Args:
        model: from `build_model`, with the weights of the best epoch.
        val: the validation images.
        state: from `fit`, with the predictions of the best epoch.
        training: its settings `tta` and `calibrate`, which are applied in this order.
        seed: of the folds for the figures of the calibration.
    """
    kept = finished_model(model, training)
    # The best epoch's predictions are those of the trained model, already made.
    uncalibrated = state.best_probabilities if kept is model else predict_probabilities(kept, val.images)
    kept, calibration = calibrated(kept, uncalibrated, val, method=training.calibrate, seed=seed)
    return Finished(kept, uncalibrated, calibration)
