"""The numbers behind the picture of the reject curve."""

import numpy as np
import pytest

from hcr.evaluation.reject import reject_curve
from hcr.evaluation.reject_plot import MOST_POINTS, reject_info
from hcr.evaluation.statistics import proportion_interval


def predictions(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes, and labels that are right as often as they claim."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.2, 0.2, 0.2], count)
    labels = (probabilities.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return probabilities, np.minimum(labels, 2)


def test_a_small_curve_is_shown_whole_with_its_intervals() -> None:
    probabilities, labels = predictions(60)
    info, curve = reject_info(probabilities, labels), reject_curve(probabilities, labels)
    assert info.threshold.tolist() == curve.threshold.tolist()
    assert info.accuracy.tolist() == curve.accuracy.tolist()
    for i in (0, 20, 59):
        answered = probabilities.max(axis=1) >= info.threshold[i]
        right = int((probabilities.argmax(axis=1) == labels)[answered].sum())
        assert (info.low[i], info.high[i]) == proportion_interval(right, int(answered.sum()))


def test_a_long_curve_is_thinned_evenly_and_keeps_its_ends() -> None:
    probabilities, labels = predictions(20_000)
    info, curve = reject_info(probabilities, labels), reject_curve(probabilities, labels)
    assert len(info.threshold) <= MOST_POINTS
    assert (info.answered[0], info.answered[-1]) == (1.0, curve.answered[-1])
    assert np.abs(np.diff(info.answered)).max() < 1.5 / MOST_POINTS
    places = np.searchsorted(curve.threshold, info.threshold)
    assert info.accuracy.tolist() == curve.accuracy[places].tolist()


def test_the_axis_starts_where_the_error_has_fallen_to_a_tenth() -> None:
    confidences = np.linspace(0.5, 1, 100)
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    labels = np.where(np.arange(100) < 20, 1, 0)  # the 20 least confident are wrong
    assert reject_info(probabilities, labels).start == pytest.approx(0.7)
    assert reject_info(probabilities, np.zeros(100, np.int64)).start == pytest.approx(0.9)
    assert reject_info(probabilities, np.ones(100, np.int64)).start == 0  # never right
