"""Answering only when sure: how many images a classifier answers, and how well, at each confidence threshold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RejectCurve:
    """What a classifier gains by leaving images of low confidence unanswered.

    Attributes:
        threshold: (M,), the M distinct confidences in ascending order. An image is answered if its confidence (its
            largest probability) is at least the threshold.
        answered: (M,), fraction of images that are answered, in (0, 1].
        accuracy: (M,), fraction of answered images that are classified correctly.
    """

    threshold: NDArray[np.float64]
    answered: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def reject_curve(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> RejectCurve:
    """The accuracy on answered images, and how many are answered, at every threshold that makes a difference.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,), integers in [0, K).

    Raises:
        ValueError: N = 0.

    Source:
        El-Yaniv and Wiener 2010, "On the Foundations of Noise-free Selective Classification": risk against coverage.
    """
    if not len(labels):
        raise ValueError("expected at least one image, got none")
    confidence = probabilities.max(axis=1).astype(np.float64)
    is_right = probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    threshold, first = np.unique(confidence[order], return_index=True)
    answered = len(labels) - first
    right = is_right[order][::-1].cumsum()[::-1][first]  # of the images from each threshold on
    return RejectCurve(threshold=threshold, answered=answered / len(labels), accuracy=right / answered)


def threshold_for(curve: RejectCurve, accuracy: float) -> float | None:
    """The threshold that answers the most images while their accuracy is at least `accuracy`; None if there is none.

    Args:
        accuracy: in (0, 1].
    """
    reached = np.flatnonzero(curve.accuracy >= accuracy)
    return float(curve.threshold[reached[0]]) if len(reached) else None
