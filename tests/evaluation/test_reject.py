"""Which images are answered at a threshold, and which threshold keeps a promise of accuracy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcr.evaluation.reject import reject_curve, threshold_for


def of_two_classes(confidences: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two classes, and labels, with these confidences (0.5 to 1) and these hits."""
    sure = np.array(confidences, np.float32)
    return np.stack([sure, 1 - sure], axis=1), np.where(right, 0, 1)


def test_a_hand_worked_curve() -> None:
    probabilities, labels = of_two_classes([0.9, 0.6, 0.8, 0.8], [True, False, True, False])
    curve = reject_curve(probabilities, labels)
    assert curve.threshold == pytest.approx([0.6, 0.8, 0.9])
    assert curve.answered == pytest.approx([1, 3 / 4, 1 / 4])
    assert curve.accuracy == pytest.approx([2 / 4, 2 / 3, 1])


def test_the_threshold_answers_as_many_as_the_accuracy_allows() -> None:
    probabilities, labels = of_two_classes([0.9, 0.6, 0.8, 0.8], [True, False, True, False])
    curve = reject_curve(probabilities, labels)
    assert threshold_for(curve, 0.5) == pytest.approx(0.6)
    assert threshold_for(curve, 0.66) == pytest.approx(0.8)
    assert threshold_for(curve, 0.99) == pytest.approx(0.9)


def test_no_threshold_keeps_a_promise_that_the_surest_images_break() -> None:
    curve = reject_curve(*of_two_classes([0.9, 0.6], [False, True]))
    assert threshold_for(curve, 0.9) is None


def test_without_images_there_is_no_curve() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        reject_curve(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))


@given(st.lists(st.tuples(st.floats(0.5, 1, width=32), st.booleans()), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_threshold_keeps_its_promise_on_the_images_it_was_found_on(
    images: list[tuple[float, bool]], wanted: float
) -> None:
    probabilities, labels = of_two_classes([sure for sure, _ in images], [right for _, right in images])
    curve = reject_curve(probabilities, labels)
    threshold = threshold_for(curve, wanted)
    confidence, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    rates = {float(limit): is_right[confidence >= limit].mean() for limit in confidence}
    keeping = [limit for limit, rate in rates.items() if rate >= wanted]
    assert threshold == (min(keeping) if keeping else None)
