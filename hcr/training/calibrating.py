"""Calibration of a trained model on its validation images."""

import keras
import numpy as np
from numpy.typing import NDArray

from hcr.data.folds import deal_images, deal_whole_groups
from hcr.data.splitting import Subset
from hcr.evaluation.calibration import NUM_FOLDS, Calibration, calibrate
from hcr.model.building import with_temperature


def calibrated(
    model: keras.Model, probabilities: NDArray[np.float32], val: Subset, *, method: str, seed: int
) -> tuple[keras.Model, Calibration | None]:
    """The model with the temperature that its predictions of validation ask for.

    Args:
        model: from `finished_model`.
        probabilities: (N, K), its predictions of `val`.
        val: the validation images.
        method: `training.calibrate`.
        seed: of the folds for the cross-fitted figures.

    Returns:
        The model to use from here on, and what is known of its calibration; as it was, and None, if `method` is "none".
    """
    if method == "none":
        return model, None
    found = calibrate(probabilities, val.labels, folds_of(val, seed))
    return (model if found.temperature == 1 else with_temperature(model, found.temperature)), found


def folds_of(val: Subset, seed: int) -> NDArray[np.intp] | None:
    """The fold of each image: stratified, and whole groups together; None if all images are of one group."""
    if val.groups is None:
        return deal_images(val.labels, NUM_FOLDS, seed)
    groups = np.unique(val.groups, return_inverse=True)[1]
    num_folds = min(NUM_FOLDS, int(groups.max()) + 1)
    return deal_whole_groups(val.labels, groups, num_folds, seed) if num_folds > 1 else None
